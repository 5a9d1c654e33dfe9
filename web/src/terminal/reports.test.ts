import { expect, test } from 'vitest';
import { isReport } from './reports';
import { commonSize } from './sizes';

test.each([
  '\x1b[?1;2c',
  '\x1b[>0;276;0c',
  '\x1b[0n',
  '\x1b[12;40R',
  '\x1b[?12;40R',
  '\x1b[?2004;1$y',
  '\x1b[8;24;80t',
  '\x1b[I',
  '\x1b[O',
  '\x1b]10;rgb:ffff/ffff/ffff\x1b\\',
  '\x1b]11;rgb:0000/0000/0000\x07',
  '\x1bP1$r0m\x1b\\',
  '\x1bP>|xterm.js(6.0.0)\x1b\\',
])('%j is a report', (data) => expect(isReport(data)).toBe(true));

test.each([
  'a',
  '\r',
  '\x1b',
  '\x1b[A',
  '\x1bOA',
  '\x1b[3~',
  '\x1b[200~pasted\x1b[201~',
  '\x1b[<0;10;10M',
  '\x1b[1;5C',
])('%j is not', (data) => expect(isReport(data)).toBe(false));

test('the common size is the smallest, and only sizes count', () => {
  expect(commonSize([{ rows: 30, cols: 80 }, null, { rows: 24, cols: 100 }], null)).toEqual({ rows: 24, cols: 80 });
  expect(commonSize([{ rows: 0, cols: 80 }, 'x'], { rows: 5, cols: 6 })).toEqual({ rows: 5, cols: 6 });
  expect(commonSize(undefined, null)).toBeNull();
});
