import { describe, expect, test } from 'vitest';
import { isPattern, isSubject, matches } from './subject';

describe('grammar', () => {
  test.each<[string, boolean, boolean]>([
    ['a', true, true],
    ['a.b', true, true],
    ['été.☃', true, true],
    ['a-b_c/d:e', true, true],
    ['a.*', true, false],
    ['*', true, false],
    ['a.*.c', true, false],
    ['>', true, false],
    ['a.>', true, false],
    ['a.>.b', false, false],
    ['a*b', true, false],
    ['a.x>', true, false],
    ['x>.a', true, true],
    ['>x.a', true, true],
    ['', false, false],
    ['.a', false, false],
    ['a.', false, false],
    ['a..b', false, false],
    ['a b', false, false],
    ['a.\u{feff}', false, false],
    ['a\u{a0}', false, false],
    ['a.\u{85}', true, true],
  ])('%j is a pattern: %s, a subject: %s', (text, pattern, subject) => {
    expect(isPattern(text)).toBe(pattern);
    expect(isSubject(text)).toBe(subject);
  });
});

describe('matching', () => {
  test.each<[string, string[], string[]]>([
    ['>', ['a', 'a.b.c'], []],
    ['a.>', ['a.b', 'a.b.c'], ['a', 'b.a']],
    ['a.*', ['a.b'], ['a', 'a.b.c']],
    ['*.b', ['a.b'], ['b', 'a.b.c']],
    ['foo.*.bar.>', ['foo.a.bar.b'], ['foo.a.bar', 'foo.x']],
    ['a.*.*', ['a.b.c'], ['a.b', 'a.b.c.d']],
    ['a*.b', ['a*.b'], ['ab.b']],
  ])('%s', (pattern, yes, no) => {
    for (const subject of yes) expect(matches(pattern, subject), subject).toBe(true);
    for (const subject of no) expect(matches(pattern, subject), subject).toBe(false);
  });
});
