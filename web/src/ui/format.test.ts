import { expect, test } from 'vitest';
import { formatBytes, formatCount, formatRate, formatSpan } from './format';

test.each<[number, string]>([
  [0, '0 B'],
  [512, '512 B'],
  [1023, '1.00 KiB'],
  [1536, '1.50 KiB'],
  [15 * 2 ** 20, '15.0 MiB'],
  [1.5 * 2 ** 40, '1.50 TiB'],
])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each<[number, string]>([
  [0, '0'],
  [9999, '9999'],
  [12_345, '12.3 k'],
  [4_560_000, '4.56 M'],
])('%d is %s', (count, text) => expect(formatCount(count)).toBe(text));

test('rates have no more digits than they deserve', () => {
  expect(formatRate(0)).toBe('0');
  expect(formatRate(1.234)).toBe('1.23');
  expect(formatRate(1234.5)).toBe('1235');
});

test.each<[number, string]>([
  [0, '0 s'],
  [61_000, '1 min 1 s'],
  [3_600_000, '1 h'],
  [90_000_000, '1 d 1 h'],
])('%d ms are %s', (ms, text) => expect(formatSpan(ms)).toBe(text));
