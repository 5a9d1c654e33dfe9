// Waiting, always with a deadline and always for something that is named in the failure.

import { setTimeout as delay } from 'node:timers/promises';

/** How long a test waits for something that should come at once, also on a busy machine. */
export const SOON = 20_000;

/** The value of `promise`, or a failure that says what did not happen. */
export async function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Polls until `condition` gives a truthy value: for states that nobody announces. */
export async function until(condition, what, ms = SOON) {
  const end = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await delay(20);
  }
}

/**
 * Lets time pass in which something must *not* happen. This is the only sleep of the suites: never use it to give
 * something time to happen, that is what `within`, `until` and `Inbox` are for.
 */
export const quiet = (ms) => delay(ms);

/** Things that arrived and were not taken yet, in order of arrival, with takers that wait for theirs. */
export class Inbox {
  #waiting = [];
  #closed;
  items = [];

  push(item) {
    const taker = this.#waiting.find((candidate) => candidate.where(item));
    if (!taker) {
      this.items.push(item);
      return;
    }
    this.#waiting.splice(this.#waiting.indexOf(taker), 1);
    taker.resolve(item);
  }

  /** Everybody who still waits fails with `reason` instead of running into a deadline. */
  close(reason) {
    this.#closed = reason;
    for (const taker of this.#waiting.splice(0)) taker.reject(new Error(`${taker.what}: ${reason}`));
  }

  /** Takes the first item that fits, waiting for it if need be. */
  async next({ where = () => true, what = 'next item', ms = SOON } = {}) {
    const index = this.items.findIndex(where);
    if (index >= 0) return this.items.splice(index, 1)[0];
    if (this.#closed) throw new Error(`${what}: ${this.#closed}`);
    let taker;
    const item = new Promise((resolve, reject) => {
      taker = { where, what, resolve, reject };
      this.#waiting.push(taker);
    });
    try {
      return await within(ms, item, what);
    } finally {
      const place = this.#waiting.indexOf(taker);
      if (place >= 0) this.#waiting.splice(place, 1);
    }
  }

  /** Takes `count` items in order of arrival. */
  async take(count, options = {}) {
    const taken = [];
    while (taken.length < count) {
      taken.push(await this.next({ what: `item ${taken.length + 1} of ${count}`, ...options }));
    }
    return taken;
  }

  /** Takes everything that is there now. */
  drain() {
    return this.items.splice(0);
  }
}
