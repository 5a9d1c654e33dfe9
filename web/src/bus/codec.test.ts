import { describe, expect, test } from 'vitest';
import { Decoder, encode, ProtocolError } from './codec';

const decode = (text: string, ...attachments: number[][]) => {
  const decoder = new Decoder();
  let packet = decoder.text(text.slice(1));
  for (const bytes of attachments) packet = decoder.binary(new Uint8Array(bytes));
  return packet;
};

describe('encode', () => {
  test('an event without binary is type 2', () => {
    expect(encode('event', 0, ['subscribe', { subject: 'a', queue: '0' }])).toEqual({
      text: '420["subscribe",{"subject":"a","queue":"0"}]',
      attachments: [],
    });
  });

  test('an event with bytes is type 5 with placeholders, depth first', () => {
    const raw = new Uint8Array([0xa2, 0x68, 0x69]);
    const blob = new Uint8Array([1, 2, 3]);
    const { text, attachments } = encode('event', undefined, ['publish', ['a', 'id', 0, 1, 0, raw, { blob }]]);
    expect(text).toBe(
      '452-["publish",["a","id",0,1,0,{"_placeholder":true,"num":0},{"blob":{"_placeholder":true,"num":1}}]]',
    );
    expect(attachments).toEqual([raw, blob]);
  });

  test('an ack of info has no arguments', () => {
    expect(encode('ack', 26, []).text).toBe('4326[]');
  });

  test('fields without a value are left out, dates are ISO strings', () => {
    expect(encode('event', undefined, ['x', { a: undefined, d: new Date(0) }]).text).toBe(
      '42["x",{"d":"1970-01-01T00:00:00.000Z"}]',
    );
  });
});

describe('Decoder', () => {
  test('reads info with any ack id', () => {
    expect(decode('426["info",{"max_payload":8000000}]')).toEqual({
      type: 'event',
      id: 6,
      args: ['info', { max_payload: 8_000_000 }],
    });
  });

  test('ack id 10 is not confused with the argument', () => {
    expect(decode('4312[["http://localhost:3000"]]')).toEqual({
      type: 'ack',
      id: 12,
      args: [['http://localhost:3000']],
    });
  });

  test('waits for attachments and puts them in place', () => {
    const packet = decode(
      '452-["a",{"subject":"a","data":["i",0,1,0,{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}}]}]',
      [1],
      [2, 3],
    );
    expect(packet).toMatchObject({
      args: ['a', { data: ['i', 0, 1, 0, new Uint8Array([1]), { b: new Uint8Array([2, 3]) }] }],
    });
  });

  test('reads connect, refusal and disconnect', () => {
    expect(decode('40{"sid":"x"}')).toEqual({ type: 'connect', data: { sid: 'x' } });
    expect(decode('44{"message":"no"}')).toEqual({ type: 'connect_error', message: 'no' });
    expect(decode('41')).toEqual({ type: 'disconnect' });
  });

  test('other namespaces are ignored', () => {
    expect(decode('44/foo,{"message":"Invalid namespace"}')).toBeUndefined();
  });

  test.each(['4x', '42{', '42{"a":1}', '43[]', '42[1]', '459999-["a"]'])('refuses %s', (text) => {
    expect(() => decode(text)).toThrow(ProtocolError);
  });

  test('refuses bytes out of place and text among attachments', () => {
    expect(() => new Decoder().binary(new Uint8Array(1))).toThrow(ProtocolError);
    const decoder = new Decoder();
    decoder.text('51-["a",{"_placeholder":true,"num":0}]');
    expect(() => decoder.text('2["b"]')).toThrow(ProtocolError);
  });

  test('refuses a placeholder without attachment', () => {
    expect(() => decode('451-["a",{"_placeholder":true,"num":7}]', [1])).toThrow(ProtocolError);
  });
});
