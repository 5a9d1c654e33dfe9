import { accountId, client } from '../app/session';
import { BusError } from '../bus/error';
import { call } from '../bus/service';

/** A stream in the list. */
export interface StreamSummary {
  path: string;
  count: number;
  bytes: number;
  changed: number;
  ephemeral: boolean;
}

/** The list of streams, and sums over all of them. */
export interface Streams {
  total: number;
  streams: StreamSummary[];
  all: { streams: number; count: number; bytes: number };
}

/** What is told of one stream. */
export interface StreamInfo {
  path: string;
  ephemeral: boolean;
  count: number;
  bytes: number;
  /** The number of the newest message. */
  seq: number;
  limits: Record<string, unknown>;
  config: Record<string, unknown>;
  metadata: unknown;
  checkpoints: Record<string, unknown>;
}

/** A message, with the start of its value or all of it. */
export interface DataMessage {
  seq: number;
  time: number;
  key?: string;
  encoding: number;
  /** Bytes of the whole value. */
  size: number;
  raw: Uint8Array;
  headers?: Record<string, unknown>;
}

/** A part of a list, sorted at the server. */
export interface Query {
  filter: string;
  sort: string;
  descending: boolean;
  offset: number;
  limit: number;
}

/** A part of a list of messages. */
export interface Messages {
  total: number;
  messages: DataMessage[];
}

const TIMEOUT_MS = 20_000;
/** Bytes of a value that are fetched at a time. */
const PART_BYTES = 1 << 20;

/** Calls a method of the server's data service. */
async function ask(method: string, argument: object): Promise<unknown> {
  const subject = `outpost.account-${accountId.value ?? ''}.data`;
  try {
    return await call(client, subject, method, [argument], { timeoutMs: TIMEOUT_MS });
  } catch (error) {
    if (error instanceof BusError && error.code === 503 && error.message.startsWith('nobody listens')) {
      throw new BusError('this server does not offer it; the services persist and status must be switched on', 503);
    }
    throw error;
  }
}

/** See `src/hub/data`. */
export const data = {
  streams: (query: Query) => ask('streams', query) as Promise<Streams>,
  stream: (path: string) => ask('stream', { path }) as Promise<StreamInfo>,
  messages: (path: string, query: Query) => ask('messages', { path, ...query }) as Promise<Messages>,
  message: (path: string, seq: number) => ask('message', { path, seq }) as Promise<DataMessage | null>,
  remove: (path: string, seqs: number[]) => ask('delete', { path, seqs }) as Promise<number[]>,
  tail: (path: string, token: string) => ask('tail', { path, token }) as Promise<null>,
  blobs: (query: Query) => ask('blobs', query) as Promise<Messages>,
  removeBlob: (uuid: string) => ask('deleteBlob', { uuid }) as Promise<boolean>,
};

/** The whole value of a message, part by part. */
export async function wholeValue(
  path: string,
  { seq, size }: { seq: number; size: number },
  progress: (bytes: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(size);
  for (let offset = 0; offset < size;) {
    const part = (await ask('value', { path, seq, offset, length: PART_BYTES })) as Uint8Array;
    if (part.length === 0) throw new BusError('the value has changed meanwhile');
    whole.set(part, offset);
    offset += part.length;
    progress(offset);
  }
  return whole;
}
