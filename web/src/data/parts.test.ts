import { expect, test } from 'vitest';
import { blobHead, blobKind } from './blob-kind';
import { hexLines } from './hex';
import { isOn, refusalOf, SETTINGS, VENDORS, wordsOf, type SettingKind } from './settings-table';
import { MAX_BLOB_BYTES, partsOf, refuse } from './upload';

test('hex lines have as many bytes as they should, at any place', () => {
  const bytes = Uint8Array.from({ length: 40 }, (_, index) => index + 60);
  expect(hexLines(bytes, 16, 2, 5)).toEqual([
    { offset: '00000020', bytes: '5c 5d 5e 5f 60 61 62 63  '.padEnd(48), characters: '\\]^_`abc' },
  ]);
  expect(hexLines(bytes, 16, 0, 100)).toHaveLength(3);
  expect(hexLines(new Uint8Array(), 16, 0, 10)).toEqual([]);
  expect(hexLines(Uint8Array.of(0, 255), 8, 0, 1)[0]?.characters).toBe('··');
});

test.each<[number[], string]>([
  [[0x89, 0x50, 0x4e, 0x47, 0x0d], 'png'],
  [[0x52, 0x49, 0x46, 0x46, 0, 0, 0, 0, 0x57, 0x45, 0x42, 0x50], 'webp'],
  [[0x68, 0xc3, 0xb6], 'txt'],
  [[0x68, 0xc3], 'txt'],
  [[1, 2, 3], 'bin'],
  [[], 'bin'],
])('bytes %j look like %s', (bytes, extension) => expect(blobKind(Uint8Array.from(bytes)).extension).toBe(extension));

test('a blob is inside of its encoded value', () => {
  expect([...blobHead(Uint8Array.of(0xc4, 2, 7, 8))]).toEqual([7, 8]);
  expect([...blobHead(Uint8Array.of(0xc5, 0, 2, 7, 8))]).toEqual([7, 8]);
  expect([...blobHead(Uint8Array.of(0xc6, 0, 0, 0, 1, 7))]).toEqual([7]);
});

test('files are sent in parts that make the whole', () => {
  expect(partsOf(1)).toEqual([[0, 1]]);
  expect(partsOf(8_000_000)).toEqual([[0, 8_000_000]]);
  expect(partsOf(20_000_000)).toEqual([
    [0, 8_000_000],
    [8_000_000, 16_000_000],
    [16_000_000, 20_000_000],
  ]);
  expect(refuse({ size: 0 })).toMatch(/empty/u);
  expect(refuse({ size: MAX_BLOB_BYTES + 1 })).toMatch(/too large/u);
  expect(refuse({ size: MAX_BLOB_BYTES })).toBeUndefined();
});

test('settings are all there once, and have names for people', () => {
  const names = SETTINGS.map(({ name }) => name);
  expect(new Set(names).size).toBe(136);
  for (const { key, enabled } of VENDORS) expect(names).toEqual(expect.arrayContaining([key, enabled]));
  expect(wordsOf('email_smtp_server')).toBe('Email SMTP server');
  expect(wordsOf('compute_servers_google-cloud_enabled')).toBe('Compute servers Google cloud enabled');
});

test.each<[SettingKind, string, boolean]>([
  ['int', '12', true],
  ['int', '1.5', false],
  ['float', '2.50', true],
  ['float', 'x', false],
  ['json', '{"a":1}', true],
  ['json', '[1]', false],
  ['json', '{a:1}', false],
  ['json', '', true],
  ['text', 'anything', true],
])('a setting of kind %s takes %j: %s', (kind, value, taken) =>
  expect(refusalOf(kind, value) === undefined).toBe(taken),
);

test('switches are on as the hub reads them', () => {
  expect(isOn('theming', undefined)).toBe(true);
  expect(isOn('openai_enabled', undefined)).toBe(false);
  expect(isOn('openai_enabled', 'yes')).toBe(true);
  expect(isOn('openai_enabled', 'true')).toBe(true);
  expect(isOn('openai_enabled', '1')).toBe(false);
});
