import { describe, expect, test } from 'vitest';
import type { DataMessage } from './api';
import { applyEvents, MAX_ROWS, meet, type TailEvent, type TailRow } from './tail-rows';

const message = (seq: number, key?: string): DataMessage => ({
  seq,
  time: seq,
  encoding: 0,
  size: 1,
  raw: Uint8Array.of(0xc0),
  ...(key === undefined ? {} : { key }),
});
const set = (seq: number, key?: string): TailEvent => ({ op: 'set', ...message(seq, key) });
const show = (rows: TailRow[]) =>
  rows
    .map((row) =>
      row.kind === 'skipped' ? `skipped ${row.count ?? '?'}` : `${row.message.seq}${row.deleted ? 'x' : ''}`,
    )
    .join(' ');
const present = (...seqs: number[]) => seqs.map((seq) => message(seq));

describe('events', () => {
  test('appear on top, deletions where they are', () => {
    const rows = applyEvents([], [set(1), set(2), { op: 'delete', seqs: [1, 9] }, { op: 'skipped', count: 3 }, set(6)]);
    expect(show(rows)).toBe('6 skipped 3 2 1x');
  });

  test('that are known already change nothing', () => {
    const rows = applyEvents([], [set(1), set(2)]);
    expect(show(applyEvents(rows, [set(2)]))).toBe('2 1');
  });

  test('of a key replace what it was', () => {
    expect(show(applyEvents([], [set(1, 'a'), set(2, 'b'), set(3, 'a')]))).toBe('3 2 1x');
  });

  test('do not grow without end', () => {
    const events = Array.from({ length: MAX_ROWS + 50 }, (_, index) => set(index + 1));
    expect(applyEvents([], events)).toHaveLength(MAX_ROWS);
  });
});

describe('what is there meets what came', () => {
  test('at the beginning', () => {
    expect(show(meet([], present(3, 2, 1), true))).toBe('3 2 1');
    expect(show(meet(applyEvents([], [set(4)]), present(4, 3, 2), false))).toBe('4 3 2');
    expect(show(meet(applyEvents([], [set(5)]), present(4, 3), false))).toBe('5 4 3');
  });

  test('after a lost connection', () => {
    const before = meet([], present(3, 2, 1), true);
    expect(show(meet(before, present(5, 4, 3), false))).toBe('5 4 3 2 1');
    expect(show(meet(before, present(9, 8), false))).toBe('9 8 skipped ? 3 2 1');
    expect(show(meet(before, present(9), true))).toBe('9 3 2 1');
  });

  test('when the stream counts from the beginning again', () => {
    expect(show(meet(applyEvents([], [set(50), set(51)]), present(2, 1), true, 51))).toBe('2 1');
  });
});
