import { encode, ExtensionCodec } from '@msgpack/msgpack';
import { describe, expect, test } from 'vitest';
import { decodeValue, text, toJson } from './decode';

const value = (input: unknown) => {
  const decoded = decodeValue(0, encode(input, { useBigInt64: true }));
  if (!decoded.ok) throw new Error(decoded.error);
  return decoded.value;
};

describe('decoding', () => {
  test('keeps large integers, dates and bytes', () => {
    const input = { big: 2n ** 60n, at: new Date(5), bytes: new Uint8Array([1, 2]) };
    expect(value(input)).toEqual(input);
  });

  test('takes any key', () => {
    // {1: 2, null: 3}
    const decoded = decodeValue(0, Uint8Array.of(0x82, 1, 2, 0xc0, 3));
    expect(decoded).toEqual({ ok: true, value: { 1: 2, null: 3 } });
  });

  test('says in words what is wrong', () => {
    expect(decodeValue(0, Uint8Array.of(0x93, 1))).toMatchObject({ ok: false });
    expect(decodeValue(1, new TextEncoder().encode('{'))).toMatchObject({ ok: false });
    expect(decodeValue(7, Uint8Array.of(1))).toEqual({ ok: false, error: 'Encoding 7 is unknown.' });
    expect(decodeValue(1, new TextEncoder().encode('{"a":1}'))).toEqual({ ok: true, value: { a: 1 } });
  });
});

test.each<[unknown, string]>([
  [{ a: [1, 'x'], b: null }, '{a: [1, "x"], b: null}'],
  [new Uint8Array(3), '‹3 bytes›'],
  [new Date(0), '1970-01-01T00:00:00.000Z'],
  [[[[[[[[[1]]]]]]]], '[[[[[[[…]]]]]]]'],
  ['x'.repeat(200), `"${'x'.repeat(158)}…`],
])('%j in a line', (input, line) => expect(text(input)).toBe(line));

test('an enormous value makes a short line quickly', () => {
  expect(text(Array.from({ length: 1_000_000 }, (_, index) => index)).length).toBe(160);
});

test('a value as JSON', () => {
  const input = { n: 5n, big: 2n ** 60n, at: new Date(0), bytes: new Uint8Array([104, 105]), no: undefined };
  expect(JSON.parse(toJson(input))).toEqual({
    n: 5,
    big: '1152921504606846976',
    at: '1970-01-01T00:00:00.000Z',
    bytes: 'aGk=',
  });
  expect(toJson(undefined)).toBe('null');
});

test('an extension is named, not guessed', () => {
  const codec = new ExtensionCodec();
  const odd = new URL('http://odd/');
  codec.register({ type: 7, encode: (it) => (it === odd ? Uint8Array.of(1) : null), decode: () => null });
  const decoded = decodeValue(0, encode([odd], { extensionCodec: codec }));
  expect(decoded.ok && text(decoded.value)).toBe('[‹extension 7›]');
});
