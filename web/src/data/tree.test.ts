import { describe, expect, test } from 'vitest';
import { CHILDREN, firstExpanded, parentOf, rowsOf } from './tree';

const value = {
  name: 'Ada',
  list: [1, 2n ** 60n, null],
  when: new Date(0),
  bytes: new Uint8Array([1, 255]),
  empty: {},
};

const lines = (...expanded: string[]) =>
  rowsOf(value, new Set(expanded)).map(({ depth, label, text }) =>
    `${'  '.repeat(depth)}${label ?? ''} ${text}`.trimEnd(),
  );

describe('the rows of a tree', () => {
  test('show what is open, and nothing of what is not', () => {
    expect(rowsOf(value, new Set())).toHaveLength(1);
    const open = lines('', '/"list"');
    expect(open.slice(1)).toEqual([
      '  name "Ada"',
      '  list [3] [1, 1152921504606846976, null]',
      '    0 1',
      '    1 1152921504606846976',
      '    2 null',
      '  when 1970-01-01T00:00:00.000Z',
      '  bytes 2 B binary  01 ff',
      '  empty {0} {}',
    ]);
  });

  test('say what a screen reader wants to know', () => {
    const row = rowsOf(value, new Set([''])).find(({ label }) => label === 'when');
    expect(row).toMatchObject({ depth: 1, position: 3, siblings: 5, branch: false });
    const empty = rowsOf(value, new Set([''])).find(({ label }) => label === 'empty');
    expect(empty?.branch).toBe(false);
  });

  test('open long texts and bytes as blocks', () => {
    const long = 'line\n'.repeat(100);
    const [, block] = rowsOf(long, new Set(['']));
    expect(block).toMatchObject({ kind: 'block', text: long });
    const [, dump] = rowsOf(new Uint8Array(1000), new Set(['']));
    expect(dump?.text.split('\n')).toHaveLength(33);
  });

  test('come a hundred at a time', () => {
    const many = Array.from({ length: 1000 }, (_, index) => index);
    const rows = rowsOf(many, new Set(['']));
    expect(rows).toHaveLength(CHILDREN + 2);
    expect(rows.at(-1)).toMatchObject({ kind: 'more', text: '900 more', id: '/more' });
    expect(rowsOf(many, new Set(['']), new Map([['', 1000]]))).toHaveLength(1001);
  });

  test('are told apart whatever their keys are', () => {
    const odd = { 'a/b': { c: 1 }, a: { 'b/c': 2 }, '"': { '\\': 3 } };
    const ids = rowsOf(odd, new Set(['', '/"a/b"', '/"a"', '/"\\""'])).map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(parentOf('/"a/b"/"c"')).toBe('/"a/b"');
    expect(parentOf('/"\\""/"\\\\"')).toBe('/"\\""');
    expect(parentOf('/"a"')).toBe('');
    expect(parentOf('')).toBeUndefined();
  });
});

test('small things are open at first', () => {
  expect([...firstExpanded(value)]).toEqual(['', '/"list"']);
  expect([...firstExpanded(Array.from({ length: 20 }, () => [1]))]).toEqual(['']);
  expect([...firstExpanded('text')]).toEqual(['']);
});
