import { describe, expect, test, vi } from 'vitest';
import { Assembler, chunkSize, split } from './chunk';
import { encodePayload } from './message';

const deliver = (frame: unknown[]) => ({ subject: frame[0], data: frame.slice(1) });

test('the chunk size leaves room for headers', () => {
  expect(chunkSize(8_000_000)).toBe(7_900_000);
  expect(chunkSize(200_000)).toBe(100_000);
  expect(chunkSize(50_000)).toBe(1000);
});

describe('split', () => {
  test('one chunk when it fits', () => {
    const raw = encodePayload('xxx');
    expect(split('a', 'id', 0, raw, undefined, 1000)).toEqual([['a', 'id', 0, 1, 0, raw]]);
  });

  test('headers go with the last of many', () => {
    const frames = split('a', 'id', 0, encodePayload('abcdefghij'), { h: 1 }, 5);
    expect(frames.map(([, , seq, done, , raw, headers]) => [seq, done, raw.length, headers])).toEqual([
      [0, 0, 5, undefined],
      [1, 0, 5, undefined],
      [2, 1, 1, { h: 1 }],
    ]);
  });

  test('an exact multiple has no empty chunk', () => {
    expect(split('a', 'id', 0, new Uint8Array(10), undefined, 5)).toHaveLength(2);
  });
});

describe('Assembler', () => {
  const frames = split('a', 'id', 0, encodePayload('abcdefghij'), { h: 1 }, 5).map(deliver);

  test('puts chunks together', () => {
    const assembler = new Assembler();
    const [message] = frames.map((frame) => assembler.push(frame)).filter(Boolean);
    expect(message?.data).toBe('abcdefghij');
    expect(message?.headers).toEqual({ h: 1 });
    expect(assembler.pending).toBe(0);
  });

  test('drops a message with a hole and goes on', () => {
    const assembler = new Assembler();
    assembler.push(frames[0]);
    expect(assembler.push(frames[2])).toBeUndefined();
    expect(assembler.pending).toBe(0);
    expect(assembler.push(frames[1])).toBeUndefined();
    expect(frames.map((frame) => assembler.push(frame)).at(-1)?.data).toBe('abcdefghij');
  });

  test('accepts null headers and extra elements, refuses nonsense', () => {
    const assembler = new Assembler();
    const raw = encodePayload(1);
    expect(assembler.push({ subject: 'a', data: ['i', 0, 1, 0, raw, null, ['target']] })?.headers).toEqual({});
    expect(assembler.push({ subject: 'a', data: ['i', 0, 1, 0, 'text'] })).toBeUndefined();
    expect(assembler.push('x')).toBeUndefined();
  });

  test('has a bound: the oldest incomplete message goes first', () => {
    const begin = (id: string, bytes = 5) =>
      deliver(split('a', id, 0, new Uint8Array(bytes * 2), undefined, bytes)[0] ?? []);
    const end = (id: string) => deliver(split('a', id, 0, new Uint8Array(10), undefined, 5)[1] ?? []);
    const few = new Assembler(2);
    for (const id of ['1', '2', '3']) few.push(begin(id));
    expect(few.pending).toBe(2);
    expect(few.push(end('1'))).toBeUndefined();
    expect(few.push(end('2'))?.raw).toHaveLength(10);
    const small = new Assembler(100, 12);
    for (const id of ['1', '2']) small.push(begin(id));
    small.push(end('1'));
    for (const id of ['3', '4']) small.push(begin(id));
    expect(small.pending).toBe(2);
    small.push(begin('5', 20));
    expect(small.pending).toBe(0);
  });

  test('forgets what stays incomplete', () => {
    vi.useFakeTimers();
    const assembler = new Assembler();
    assembler.push(frames[0]);
    vi.advanceTimersByTime(121_000);
    assembler.push(deliver(split('a', 'other', 0, new Uint8Array(10), undefined, 5)[0] ?? []));
    expect(assembler.pending).toBe(1);
    vi.useRealTimers();
  });
});
