import { Backoff, sleep } from './backoff';
import { Assembler } from './chunk';
import { BusError, DisconnectedError, messageOf } from './error';
import { randomId } from './id';
import type { Message } from './message';
import type { Refusals } from './permissions';
import { isPattern } from './subject';

/** Called with every message of a subscription. */
export type Handler = (message: Message) => void;

/** One local subscription; several to the same pattern share one on the wire. */
export interface Subscription {
  readonly pattern: string;
  /** Resolves when the server has it, rejects if the server refuses it. */
  readonly ready: Promise<void>;
  close(): void;
}

/** What subscriptions need of a connection. */
export interface Wire {
  /** Is there a connection that is signed in? */
  readonly live: boolean;
  request(event: string, argument: unknown, timeoutMs: number): Promise<unknown>;
  emit(event: string, argument: unknown): void;
}

interface Entry {
  pattern: string;
  queue: string;
  /** Did a caller ask for this queue, or was it made up? */
  chosen: boolean;
  handlers: Set<Handler>;
  assembler: Assembler;
  ready: Promise<void>;
  added: () => void;
  refused: (error: Error) => void;
}

const SUBSCRIBE_TIMEOUT_MS = 60_000;
const LIST_TIMEOUT_MS = 10_000;

/** The patterns this client listens to, kept the same here and at the server across reconnects. */
export class Subscriptions {
  readonly #entries = new Map<string, Entry>();
  #round = 0;

  constructor(
    private readonly wire: Wire,
    private readonly refusals: Refusals,
  ) {}

  /** The patterns that are wanted. */
  get patterns(): string[] {
    return [...this.#entries.keys()];
  }

  /** Starts to listen. */
  add(pattern: string, handler: Handler, queue?: string): Subscription {
    if (!isPattern(pattern)) throw new BusError(`invalid subject '${pattern}'`);
    this.refusals.check('sub', pattern);
    let entry = this.#entries.get(pattern);
    if (entry && queue !== undefined && (!entry.chosen || entry.queue !== queue)) {
      throw new BusError(`already subscribed to '${pattern}' with another queue`);
    }
    if (!entry) {
      entry = makeEntry(pattern, queue);
      this.#entries.set(pattern, entry);
      if (this.wire.live) void this.#subscribe(entry);
    }
    // Every subscription has its own wrapper, so that the same function can be given twice.
    const own: Handler = (message) => handler(message);
    entry.handlers.add(own);
    const { ready } = entry;
    return { pattern, ready, close: () => this.#remove(pattern, own) };
  }

  /** Hands a delivery to the handlers of `pattern`; false if there are none. */
  deliver(pattern: string, argument: unknown): Message | undefined {
    const entry = this.#entries.get(pattern);
    const message = entry?.assembler.push(argument);
    if (!entry || !message) return undefined;
    for (const handler of [...entry.handlers]) {
      try {
        handler(message);
      } catch (error) {
        reportError(error);
      }
    }
    return message;
  }

  /**
   * Makes the server's list the same as ours: asks for it, adds what is missing, removes what is too much, and asks
   * again until nothing is missing. A later call takes the work over.
   */
  async resync(): Promise<void> {
    const round = ++this.#round;
    const pause = new Backoff(1300, 1.3, 15_000);
    for (const entry of this.#entries.values()) {
      // What a lost connection had in parts will never be complete.
      entry.assembler = new Assembler();
      // The server may not have noticed yet that the old connection is dead. Under the same queue name it would go on
      // sending it every other message.
      if (!entry.chosen) entry.queue = randomId();
    }
    while (round === this.#round && this.wire.live) {
      try {
        if (await this.#compare(round)) return;
      } catch (error) {
        if (error instanceof DisconnectedError) return;
      }
      await sleep(pause.next());
    }
  }

  /** Refuses everything that is still waiting and forgets every subscription. */
  close(): void {
    this.#round++;
    for (const entry of this.#entries.values()) entry.refused(new BusError('closed'));
    if (this.wire.live && this.#entries.size > 0) {
      this.wire.emit(
        'unsubscribe',
        this.patterns.map((subject) => ({ subject })),
      );
    }
    this.#entries.clear();
  }

  /** One round; true if the server had everything. */
  async #compare(round: number): Promise<boolean> {
    const listed = await this.wire.request('subscriptions', null, LIST_TIMEOUT_MS);
    if (round !== this.#round) return true;
    const present = new Set(Array.isArray(listed) ? (listed as unknown[]) : []);
    const extra = [...present].filter((pattern) => !this.#entries.has(pattern as string));
    if (extra.length > 0) {
      this.wire.emit(
        'unsubscribe',
        extra.map((subject) => ({ subject })),
      );
    }
    const missing: Entry[] = [];
    for (const entry of this.#entries.values()) {
      if (present.has(entry.pattern)) entry.added();
      else missing.push(entry);
    }
    if (missing.length === 0) return true;
    const wanted = missing.map(({ pattern, queue }) => ({ subject: pattern, queue }));
    const results = await this.wire.request('subscribe', wanted, SUBSCRIBE_TIMEOUT_MS);
    for (const [index, entry] of missing.entries()) {
      this.#settle(entry, Array.isArray(results) ? (results as unknown[])[index] : undefined);
    }
    return false;
  }

  async #subscribe(entry: Entry): Promise<void> {
    const { pattern, queue } = entry;
    try {
      this.#settle(entry, await this.wire.request('subscribe', { subject: pattern, queue }, SUBSCRIBE_TIMEOUT_MS));
    } catch (error) {
      // After a lost connection the next resync subscribes again.
      if (!(error instanceof DisconnectedError)) this.#refuse(entry, error);
    }
  }

  #settle(entry: Entry, result: unknown): void {
    const { error, code } = (result ?? {}) as { error?: unknown; code?: number | string };
    if (error === undefined) entry.added();
    else this.#refuse(entry, new BusError(messageOf(error), code, { subject: entry.pattern }));
  }

  #refuse(entry: Entry, error: unknown): void {
    if (this.#entries.get(entry.pattern) === entry) this.#entries.delete(entry.pattern);
    entry.refused(error instanceof Error ? error : new Error(String(error)));
  }

  #remove(pattern: string, handler: Handler): void {
    const entry = this.#entries.get(pattern);
    if (!entry?.handlers.delete(handler) || entry.handlers.size > 0) return;
    this.#entries.delete(pattern);
    entry.refused(new BusError('closed'));
    if (this.wire.live) this.wire.emit('unsubscribe', { subject: pattern });
  }
}

function makeEntry(pattern: string, queue: string | undefined): Entry {
  const { promise, resolve, reject } = deferred();
  // Not everyone waits for it.
  promise.catch(() => undefined);
  return {
    pattern,
    queue: queue ?? randomId(),
    chosen: queue !== undefined,
    handlers: new Set(),
    assembler: new Assembler(),
    ready: promise,
    added: resolve,
    refused: reject,
  };
}

/** A promise and what settles it. */
function deferred(): { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<void>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
