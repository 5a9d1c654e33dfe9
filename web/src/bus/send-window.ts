import { Backoff } from './backoff';
import { BusError } from './error';
import { encodePayload, MESSAGE_PACK, type Headers } from './message';

/** A written message that the peer has not reported as received. */
export interface Held {
  encoding: number;
  raw: Uint8Array;
  /** With `CN-SocketSeq`. */
  headers: Headers;
}

/** The header that carries the sequence number. */
export const SEQ_HEADER = 'CN-SocketSeq';

/**
 * The sending half of a virtual socket: numbers messages from 1 and keeps each until the peer has reported it. Only
 * the newest is ever repeated; the peer then asks for what it misses before that.
 */
export class SendWindow {
  readonly #held = new Map<number, Held>();
  #next = 1;
  /** The highest number that went out. */
  #sent = 0;
  #open = false;
  #resend: ReturnType<typeof setTimeout> | undefined;
  readonly #backoff = new Backoff(500, 1.3, 15_000);
  #drained: (() => void)[] = [];

  constructor(
    private readonly transmit: (message: Held) => void,
    private readonly limit: number,
  ) {}

  /** How many messages the peer has not reported. */
  get unacknowledged(): number {
    return this.#held.size;
  }

  /** Takes a message; throws `ENOBUFS` when the peer has not reported too many. */
  write(data: unknown, headers?: Headers): void {
    if (this.#held.size >= this.limit) throw new BusError('too many unacknowledged messages', 'ENOBUFS');
    const seq = this.#next++;
    const held = { encoding: MESSAGE_PACK, raw: encodePayload(data), headers: { ...headers, [SEQ_HEADER]: seq } };
    this.#held.set(seq, held);
    if (!this.#open) return;
    this.#sent = seq;
    this.transmit(held);
    this.#backoff.reset();
    this.#schedule();
  }

  /** The way to the peer is there: sends what was written meanwhile, or else the newest again. */
  start(): void {
    this.#open = true;
    const waiting = [...this.#held].filter(([seq]) => seq > this.#sent);
    const newest = [...this.#held].at(-1);
    for (const [seq, held] of waiting.length > 0 || !newest ? waiting : [newest]) {
      this.#sent = seq;
      this.transmit(held);
    }
    this.#backoff.reset();
    this.#schedule();
  }

  /** The way to the peer is gone; what is written now waits. */
  stop(): void {
    this.#open = false;
    clearTimeout(this.#resend);
  }

  /** The peer has everything up to `seq`. */
  acknowledge(seq: number): void {
    for (const held of this.#held.keys()) {
      if (held > seq) break;
      this.#held.delete(held);
    }
    if (this.#held.size > 0) return;
    clearTimeout(this.#resend);
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** What the peer asks for again, in its order; nothing if any of it is no longer here. */
  missing(seqs: unknown[]): Held[] | undefined {
    const found = seqs.map((seq) => this.#held.get(seq as number));
    return found.every((held) => held !== undefined) ? found : undefined;
  }

  /** Resolves when nothing is unacknowledged. */
  drain(): Promise<void> {
    if (this.#held.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  #schedule(): void {
    clearTimeout(this.#resend);
    if (!this.#open || this.#held.size === 0) return;
    this.#resend = setTimeout(() => {
      const newest = [...this.#held.values()].at(-1);
      if (newest) this.transmit(newest);
      this.#schedule();
    }, this.#backoff.next());
  }
}
