import { Message, type Headers } from './message';
import { SEQ_HEADER, type Held } from './send-window';

/** What a receiving half needs of its socket. */
export interface Receiver {
  deliver(message: Message): void;
  /** Tells the peer the last number that was delivered. */
  report(seq: number): Promise<void>;
  /** Asks the peer for messages; nothing if it doesn't have them any more. */
  fetch(seqs: number[]): Promise<Held[] | undefined>;
  /** The stream can't be continued. */
  broken(reason: string): void;
}

/** More than this can't be missing: the peer's window is smaller. */
const MAX_GAP = 10_000;

/** The receiving half of a virtual socket: delivers every message once and in order. */
export class ReceiveWindow {
  #next = 1;
  #reported = 0;
  #reporting = false;
  #fetching = false;
  readonly #early = new Map<number, Message>();

  constructor(private readonly receiver: Receiver) {}

  /** Takes a data message as it arrived. */
  push(message: Message): void {
    const seq = message.headers[SEQ_HEADER];
    if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 1) {
      this.receiver.broken('bad sequence number');
      return;
    }
    if (seq >= this.#next + MAX_GAP) {
      this.receiver.broken('sequence numbers out of reach');
      return;
    }
    if (seq >= this.#next) this.#early.set(seq, message);
    this.#drain();
    void this.#report();
    if (this.#early.size > 0) void this.#fetch();
  }

  #drain(): void {
    for (;;) {
      const message = this.#early.get(this.#next);
      if (!message) return;
      this.#early.delete(this.#next);
      this.#next++;
      this.receiver.deliver(withoutSeq(message));
    }
  }

  /** One report at a time; a failed one is made up for by the next, which the peer's repetition brings about. */
  async #report(): Promise<void> {
    if (this.#reporting) return;
    this.#reporting = true;
    try {
      while (this.#reported < this.#next - 1) {
        const seq = this.#next - 1;
        await this.receiver.report(seq);
        this.#reported = Math.max(this.#reported, seq);
      }
    } catch {
      // See above.
    } finally {
      this.#reporting = false;
    }
  }

  async #fetch(): Promise<void> {
    if (this.#fetching) return;
    this.#fetching = true;
    try {
      while (this.#early.size > 0) {
        const held = await this.receiver.fetch(this.#absent());
        if (!held) {
          this.receiver.broken('the peer no longer has what is missing');
          return;
        }
        for (const { encoding, raw, headers } of held) {
          const seq = headers[SEQ_HEADER];
          if (typeof seq === 'number' && seq >= this.#next) {
            this.#early.set(seq, new Message('', encoding, raw, headers));
          }
        }
        const before = this.#next;
        this.#drain();
        if (this.#next === before) return;
      }
    } catch {
      // The peer repeats its newest message, which brings us here again.
    } finally {
      this.#fetching = false;
      void this.#report();
    }
  }

  #absent(): number[] {
    const largest = Math.max(...this.#early.keys());
    const absent: number[] = [];
    for (let seq = this.#next; seq < largest; seq++) if (!this.#early.has(seq)) absent.push(seq);
    return absent;
  }
}

function withoutSeq(message: Message): Message {
  const headers: Headers = { ...message.headers };
  // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- the header is the transport's, not the application's
  delete headers[SEQ_HEADER];
  return new Message(message.subject, message.encoding, message.raw, headers);
}
