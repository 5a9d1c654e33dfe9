import { describe, expect, test } from 'vitest';
import { abbreviate, append, MAX_RECORDS, passes, type FlightRecord } from './record';

const record = (n: number, over: Partial<FlightRecord> = {}): FlightRecord => ({
  n,
  time: 0,
  subject: 'fs.project-p',
  bytes: 1,
  headers: ['CN-Reply'],
  from: 7,
  to: [{ pattern: 'fs.*', conn: 12 }],
  count: 1,
  micros: 3,
  ...over,
});

describe('append', () => {
  test('never has a record twice', () => {
    const first = append([], [record(1), record(2)]);
    expect(append(first, [record(2), record(3)]).map(({ n }) => n)).toEqual([1, 2, 3]);
    expect(append(first, [record(2)])).toBe(first);
  });

  test('lets the oldest go', () => {
    const many = Array.from({ length: MAX_RECORDS }, (_, n) => record(n));
    const after = append(many, [record(MAX_RECORDS)]);
    expect(after).toHaveLength(MAX_RECORDS);
    expect(after[0]?.n).toBe(1);
  });
});

test.each<[string, boolean]>([
  ['', true],
  ['project', true],
  ['PROJECT', true],
  ['fs.*', true],
  ['fs.>', true],
  ['*.*.*', false],
  ['cn-reply', true],
  ['7', true],
  ['12', true],
  ['#12', true],
  ['2', false],
  ['project -CN-Reply', false],
  ['project -inbox', true],
  ['project inbox', false],
])('the filter %j passes: %s', (filter, expected) => expect(passes(record(1), filter)).toBe(expected));

test('subjects are shown with short UUIDs', () => {
  expect(abbreviate('fs.project-00000000-1000-4000-8000-000000000000.x')).toBe('fs.project-00000000….x');
  expect(abbreviate('a.b-c')).toBe('a.b-c');
});
