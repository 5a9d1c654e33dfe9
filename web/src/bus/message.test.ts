import { describe, expect, test } from 'vitest';
import { decodePayload, encodePayload, JSON_TEXT, MESSAGE_PACK, Message } from './message';

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');

/** The samples every peer agrees on. */
const SAMPLES: [unknown, string][] = [
  [null, 'c0'],
  [true, 'c3'],
  [127, '7f'],
  [128, 'cc 80'],
  [-1, 'ff'],
  [-33, 'd0 df'],
  [65_536, 'ce 00 01 00 00'],
  [2 ** 32, 'cf 00 00 00 01 00 00 00 00'],
  [2 ** 53 - 1, 'cf 00 1f ff ff ff ff ff ff'],
  [1.5, 'cb 3f f8 00 00 00 00 00 00'],
  [1e20, 'cb 44 15 af 1d 78 b5 8c 40'],
  [NaN, 'cb 7f f8 00 00 00 00 00 00'],
  ['héllo', 'a6 68 c3 a9 6c 6c 6f'],
  [new Uint8Array([1, 2, 3]), 'c4 03 01 02 03'],
  [new Date(1_700_000_000_000), 'd6 ff 65 53 f1 00'],
  [new Date(1_700_000_000_123), 'd7 ff 1d 53 53 00 65 53 f1 00'],
  [new Date(-1), 'c7 0c ff 3b 8b 87 c0 ff ff ff ff ff ff ff ff'],
  [{ name: 'system.ping', args: [] }, '82 a4 6e 61 6d 65 ab 73 79 73 74 65 6d 2e 70 69 6e 67 a4 61 72 67 73 90'],
  [1_765_432_100_123, 'cf 00 00 01 9b 0b f4 05 1b'],
];

describe('payloads', () => {
  test.each(SAMPLES)('%s has the bytes %s, and back', (value, bytes) => {
    expect(hex(encodePayload(value))).toBe(bytes);
    expect(decodePayload(MESSAGE_PACK, encodePayload(value))).toEqual(value);
  });

  test('undefined is nil in arrays and left out of maps', () => {
    expect(hex(encodePayload([1, undefined, 3]))).toBe('93 01 c0 03');
    expect(hex(encodePayload({ a: 1, b: undefined, c: null }))).toBe('82 a1 61 01 a1 63 c0');
  });

  test('JSON is read too', () => {
    expect(decodePayload(JSON_TEXT, new TextEncoder().encode('{"n":1}'))).toEqual({ n: 1 });
  });

  test('unknown encodings and trailing bytes are errors', () => {
    expect(() => decodePayload(7, new Uint8Array([1]))).toThrow();
    expect(() => decodePayload(MESSAGE_PACK, new Uint8Array([1, 2]))).toThrow();
  });
});

test('a message decodes when it is asked for, and knows whether it is a request', () => {
  const message = new Message('a', MESSAGE_PACK, encodePayload('x'), { 'CN-Reply': '_INBOX.a.b' });
  expect(message.data).toBe('x');
  expect(message.reply).toBe('_INBOX.a.b');
  expect(new Message('a', MESSAGE_PACK, encodePayload('x')).reply).toBeUndefined();
});
