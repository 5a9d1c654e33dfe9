import { decode as unpack } from '@msgpack/msgpack';
import { JSON_TEXT, MESSAGE_PACK } from '../bus/message';

/** What a value's bytes say, or why they say nothing. */
export type Decoded = { ok: true; value: unknown } | { ok: false; error: string };

/** Decodes for reading: integers beyond 2^53 stay exact, whatever can be a key is one. */
export function decodeValue(encoding: number, raw: Uint8Array): Decoded {
  try {
    if (encoding === JSON_TEXT) return { ok: true, value: JSON.parse(new TextDecoder().decode(raw)) };
    if (encoding !== MESSAGE_PACK) return { ok: false, error: `Encoding ${encoding} is unknown.` };
    const value = unpack(raw, {
      useBigInt64: true,
      mapKeyConverter: (key) => (typeof key === 'string' ? key : text(key)),
    });
    return { ok: true, value };
  } catch (error) {
    const what = encoding === JSON_TEXT ? 'JSON' : 'MessagePack';
    return { ok: false, error: `This is not ${what}: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** The encodings' names. */
export function encodingName(encoding: number): string {
  if (encoding === MESSAGE_PACK) return 'MessagePack';
  return encoding === JSON_TEXT ? 'JSON' : `encoding ${encoding}`;
}

/** Is it an extension type that MessagePack's decoder doesn't know? */
export function isExtension(value: object): value is { type: number; data: Uint8Array } {
  return 'type' in value && 'data' in value && value.constructor.name !== 'Object' && value.data instanceof Uint8Array;
}

/** `text` in at most `length` characters. */
export function shorten(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** Bytes in hexadecimal, with blanks between them. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** A value in one line of about `length` characters. */
export function text(value: unknown, length = 160): string {
  const out: string[] = [];
  let left = length;
  const put = (part: string) => {
    out.push(part);
    left -= part.length;
  };
  write(value, put, () => left > 0, 0);
  return shorten(out.join(''), length);
}

/** Deeper than this nobody reads a line. */
const MAX_DEPTH = 6;

function write(value: unknown, put: (part: string) => void, room: () => boolean, depth: number): void {
  const leaf = leafText(value);
  const list = Array.isArray(value);
  if (leaf !== undefined) put(leaf);
  else if (depth >= MAX_DEPTH) put(list ? '[…]' : '{…}');
  else {
    put(list ? '[' : '{');
    for (const [index, [key, item]] of Object.entries(value as object).entries()) {
      if (!room()) break;
      if (index > 0) put(', ');
      if (!list) put(`${key}: `);
      write(item, put, room, depth + 1);
    }
    put(list ? ']' : '}');
  }
}

function leafText(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return scalar(value);
  if (value instanceof Date) return dateText(value);
  if (value instanceof Uint8Array) return `‹${value.length} bytes›`;
  return isExtension(value) ? `‹extension ${value.type}›` : undefined;
}

function scalar(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(shorten(value, 1000));
  return String(value);
}

/** A date for people and for machines: ISO 8601. */
export function dateText(date: Date): string {
  return Number.isNaN(date.getTime()) ? 'invalid date' : date.toISOString();
}

/** The value as JSON: bytes as base64, dates as ISO 8601, integers that are exact as numbers. */
export function toJson(value: unknown): string {
  return JSON.stringify(value ?? null, replace, 2);
}

function replace(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (value instanceof Uint8Array) return base64(value);
  return value;
}

function base64(bytes: Uint8Array): string {
  let binary = '';
  // In parts: a call takes only so many arguments.
  for (let start = 0; start < bytes.length; start += 8192) {
    binary += String.fromCharCode(...bytes.subarray(start, start + 8192));
  }
  return btoa(binary);
}
