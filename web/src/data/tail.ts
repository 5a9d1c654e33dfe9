import { effect, signal } from '@preact/signals';
import { accountId, busState, client } from '../app/session';
import { messageOf } from '../bus/error';
import { randomId } from '../bus/id';
import { data } from './api';
import { applyEvents, meet, newest, type TailEvent, type TailRow } from './tail-rows';

/** Messages that are there when one begins to follow. */
const PRESENT_ROWS = 50;

/** The server lets itself be heard at least every 15 seconds; after this long without we ask anew. */
const QUIET_MS = 40_000;

/** Follows a stream: what it has now, and what comes from now on. Goes on after a lost connection. */
export class Tail {
  /** The newest first. */
  readonly rows = signal<TailRow[]>([]);
  /** Does what comes appear at once? */
  readonly live = signal(false);
  readonly error = signal('');
  readonly #stop: () => void;

  constructor(private readonly path: string) {
    const token = randomId();
    const subject = `outpost.account-${accountId.value ?? ''}.tail.${token}`;
    const again = signal(0);
    let watchdog: ReturnType<typeof setTimeout> | undefined;
    const heard = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => again.value++, QUIET_MS);
    };
    const subscription = client.subscribe(subject, ({ data: events }) => {
      heard();
      if (Array.isArray(events) && events.length > 0) {
        this.rows.value = applyEvents(this.rows.peek(), events as TailEvent[]);
      }
    });
    let round = 0;
    const dispose = effect(() => {
      const connected = busState.value.phase === 'connected' && again.value >= 0;
      heard();
      this.live.value = false;
      const mine = ++round;
      if (connected) void this.#begin(token, subscription.ready, () => mine === round);
    });
    this.#stop = () => {
      round++;
      clearTimeout(watchdog);
      dispose();
      subscription.close();
    };
  }

  /** The server notices that nobody listens any more. */
  stop(): void {
    this.#stop();
  }

  async #begin(token: string, ready: Promise<void>, current: () => boolean): Promise<void> {
    const known = newest(this.rows.peek());
    try {
      await ready;
      await this.#listening(token);
      if (!current()) return;
      // What comes while the present is fetched is kept, and what is both is shown once.
      const query = { filter: '', sort: 'seq', descending: true, offset: 0, limit: PRESENT_ROWS };
      const { total, messages } = await data.messages(this.path, query);
      if (!current()) return;
      this.rows.value = meet(this.rows.peek(), messages, total <= messages.length, known);
      this.live.value = true;
      this.error.value = '';
    } catch (error) {
      if (current() && busState.peek().phase === 'connected') this.error.value = messageOf(error);
    }
  }

  async #listening(token: string): Promise<void> {
    const subject = `outpost.account-${accountId.peek() ?? ''}.tail.${token}`;
    // After a lost connection the subscription is renewed meanwhile; before that the server would find nobody.
    await client.waitForInterest(subject, 10_000);
    await data.tail(this.path, token);
  }
}
