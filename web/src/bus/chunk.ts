import { Message, type Headers } from './message';

/** The body of a `publish` event: subject, message id, chunk number, done, encoding, bytes, headers. */
export type PublishFrame = [string, string, number, 0 | 1, number, Uint8Array, Headers?];

/** What clients leave free in a WebSocket message for everything but the payload. */
const HEADER_BUDGET_BYTES = 100_000;

/** Before the server has said anything its largest message is taken to be this. */
export const DEFAULT_MAX_PAYLOAD_BYTES = 1_000_000;

/** Parts of messages older than this are given up. */
const MAX_AGE_MS = 120_000;

/** How many payload bytes go into one chunk. */
export function chunkSize(maxPayloadBytes: number): number {
  return Math.max(1000, maxPayloadBytes - HEADER_BUDGET_BYTES);
}

/** Splits one message into the frames to publish; headers travel with the last. */
export function split(
  subject: string,
  id: string,
  encoding: number,
  raw: Uint8Array,
  headers: Headers | undefined,
  size: number,
): PublishFrame[] {
  const frames: PublishFrame[] = [];
  for (let seq = 0; seq === 0 || seq * size < raw.length; seq++) {
    const chunk = raw.subarray(seq * size, (seq + 1) * size);
    const done = (seq + 1) * size >= raw.length;
    if (done && headers) frames.push([subject, id, seq, 1, encoding, chunk, headers]);
    else frames.push([subject, id, seq, done ? 1 : 0, encoding, chunk]);
  }
  return frames;
}

/** Messages a subscription may have in parts, and their bytes; beyond either the oldest are given up. */
const MAX_PARTIALS = 1024;
const MAX_PARTIAL_BYTES = 256 * 2 ** 20;

interface Partial {
  since: number;
  bytes: number;
  chunks: Uint8Array[];
}

/** Puts the chunks that one subscription receives back together. */
export class Assembler {
  /** Oldest first, as maps are. */
  readonly #partials = new Map<string, Partial>();
  #bytes = 0;

  constructor(
    private readonly maxPartials = MAX_PARTIALS,
    private readonly maxBytes = MAX_PARTIAL_BYTES,
  ) {}

  /** Takes the argument of one delivery; returns the message it completes, if it does. */
  push(argument: unknown): Message | undefined {
    const delivery = readDelivery(argument);
    if (!delivery) return undefined;
    const { subject, id, seq, done, encoding, raw, headers } = delivery;
    let partial = this.#partials.get(id);
    if (seq !== (partial?.chunks.length ?? 0)) {
      // A chunk went missing: neither this one nor the rest can make a message.
      this.#forget(id);
      return undefined;
    }
    if (!partial && done) return new Message(subject, encoding, raw, headers);
    if (!partial) {
      this.#expire();
      this.#partials.set(id, (partial = { since: Date.now(), bytes: 0, chunks: [] }));
    }
    partial.chunks.push(raw);
    partial.bytes += raw.length;
    this.#bytes += raw.length;
    if (!done) {
      this.#makeRoom();
      return undefined;
    }
    this.#forget(id);
    return new Message(subject, encoding, concatenate(partial.chunks), headers);
  }

  /** How many messages are incomplete. */
  get pending(): number {
    return this.#partials.size;
  }

  #expire(): void {
    const oldest = Date.now() - MAX_AGE_MS;
    for (const [id, partial] of this.#partials) if (partial.since < oldest) this.#forget(id);
  }

  #makeRoom(): void {
    for (const id of this.#partials.keys()) {
      if (this.#partials.size <= this.maxPartials && this.#bytes <= this.maxBytes) return;
      this.#forget(id);
    }
  }

  #forget(id: string): void {
    this.#bytes -= this.#partials.get(id)?.bytes ?? 0;
    this.#partials.delete(id);
  }
}

interface Delivery {
  subject: string;
  id: string;
  seq: number;
  done: boolean;
  encoding: number;
  raw: Uint8Array;
  headers: Headers | undefined;
}

function readDelivery(argument: unknown): Delivery | undefined {
  if (typeof argument !== 'object' || argument === null) return undefined;
  const { subject, data } = argument as { subject?: unknown; data?: unknown };
  if (typeof subject !== 'string' || !Array.isArray(data)) return undefined;
  const [id, seq, done, encoding, raw, headers] = data as unknown[];
  if (typeof id !== 'string' || typeof seq !== 'number' || typeof encoding !== 'number') return undefined;
  if (!(raw instanceof Uint8Array)) return undefined;
  const known = typeof headers === 'object' && headers !== null ? (headers as Headers) : undefined;
  return { subject, id, seq, done: Boolean(done), encoding, raw, headers: known };
}

function concatenate(chunks: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}
