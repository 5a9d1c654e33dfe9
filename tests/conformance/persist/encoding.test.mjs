// conat-persist.md §20, encoding: bytes go in and come out as they were.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { decode, encode } from '@msgpack/msgpack';
import { connect } from '../../support/client.mjs';
import { openStream, operation } from '../../support/persist.mjs';
import { startServer } from '../../support/server.mjs';

const DATE = new Date(1_795_345_740_686);
const VALUES = [
  null,
  'hi',
  0,
  -1,
  1.5,
  2 ** 53 - 1,
  { a: [1, { b: null }], ü: '😀' },
  [],
  new Uint8Array([0, 255]),
  DATE,
];

describe('encoding', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer(undefined, { services: 'persist' });
  });
  after(() => server?.stop());

  const open = async (t, path, options) => openStream(await connect(t, server), path, options);

  test('persist_030 payloads and their encoding are kept verbatim', async (t) => {
    const stream = await open(t, 't030', { changefeed: true });
    const sent = [];
    for (const value of VALUES) {
      await stream.set(value);
      sent.push([0, Buffer.from(encode(value)).toString('hex')]);
    }
    for (const value of [null, 'hi', { a: [1, 2] }]) {
      await stream.set(value, { encoding: 1 });
      sent.push([1, Buffer.from(JSON.stringify(value)).toString('hex')]);
    }
    // Neither is it the server's affair whether a payload makes sense.
    const odd = Buffer.from('c1ff', 'hex');
    await stream.setMany([operation(undefined, { raw: odd }), operation(undefined, { raw: odd, encoding: 1 })]);
    sent.push([0, 'c1ff'], [1, 'c1ff']);
    const seen = (messages) => messages.map(({ encoding, raw }) => [encoding, Buffer.from(raw).toString('hex')]);
    assert.deepEqual(seen((await stream.getAll()).messages), sent);
    assert.deepEqual(seen(await stream.events.take(sent.length)), sent);
    for (let seq = 1; seq <= sent.length; seq++) {
      const answer = await (await stream.send('get', { seq })).next();
      assert.deepEqual(seen([answer]), [sent[seq - 1]]);
    }
  });

  test('persist_031 what is absent is left out', async (t) => {
    const stream = await open(t, 't031', { changefeed: true });
    await stream.set('plain', { key: null, headers: null, msgID: null, ttl: null });
    await stream.set('full', { key: 'k', headers: { x: 1 }, msgID: 'm' });
    const plain = ['encoding', 'raw', 'seq', 'time'];
    const names = (record) => Object.keys(record).sort();
    const [first, second] = (await stream.getAll()).messages;
    assert.deepEqual(names(first), plain);
    assert.deepEqual(names(second), ['encoding', 'headers', 'key', 'raw', 'seq', 'time']);
    assert.deepEqual(names(await stream.event()), plain);
    assert.deepEqual(names(await stream.event()), ['encoding', 'headers', 'key', 'msgID', 'raw', 'seq', 'time']);
    assert.deepEqual(names((await stream.get({ seq: 1 })).headers), ['seq', 'time']);
    assert.deepEqual(await stream.setMany([operation(1, { key: 'none', previousSeq: 7 })]), [
      { error: 'Error: wrong last sequence', code: 'wrong-last-sequence' },
    ]);
  });

  test('persist_032 a miss has no headers at all', async (t) => {
    const stream = await open(t, 't032');
    for (const parameters of [{ seq: 1 }, { key: 'k' }, { key: '' }, {}, { seq: -1 }, { seq: 1.5 }, { seq: 1e300 }]) {
      const answer = await (await stream.send('get', parameters)).next();
      assert.equal(answer.data.length, 5, JSON.stringify(parameters));
      assert.equal(Buffer.from(answer.raw).toString('hex'), 'c0');
    }
  });

  test('persist_033 raw is bytes, numbers are integers', async (t) => {
    const stream = await open(t, 't033', { changefeed: true });
    const before = Date.now();
    const answer = await (await stream.send('set', { headers: { x: 1 } }, 'hi')).next();
    const text = Buffer.from(answer.raw).toString('hex');
    assert.match(text, /^82a474696d65cf[0-9a-f]{16}a373657101$/);
    const { time } = decode(answer.raw);
    assert.ok(time >= before && time <= Date.now());
    const record = `85a373657101a474696d65cf${text.slice(14, 30)}a8656e636f64696e6700a3726177c403a26869a76865616465727381a17801`;
    const answers = await stream.send('getAll');
    assert.equal(Buffer.from((await answers.next()).raw).toString('hex'), `91${record}`);
    const { headers } = await stream.frames.next();
    assert.deepEqual(headers, { seq: 0, 'CN-SocketSeq': 1 });
  });

  test('persist_034 integers may be written as floats', async (t) => {
    const stream = await open(t, 't034');
    await stream.set('x', { key: 'k' });
    // Small integers as float64, as some encoders write them.
    const float = (n) => {
      const bytes = Buffer.alloc(9);
      bytes[0] = 0xcb;
      bytes.writeDoubleBE(n, 1);
      return bytes;
    };
    const str = (text) => Buffer.from(encode(text));
    const raw = Buffer.concat([
      Buffer.from([0x91, 0x84]),
      ...[str('key'), str('k'), str('previousSeq'), float(1), str('ttl'), float(5000), str('messageData')],
      ...[Buffer.from([0x82]), str('encoding'), float(1), str('raw'), Buffer.from([0xc4, 1, 0x37])],
    ]);
    const subject = stream.serverSubject;
    const inbox = `_INBOX.t034.${stream.id}`;
    const answers = await stream.client.subscribe(inbox);
    stream.client.socket.emit('publish', [subject, 'id', 0, 1, 0, raw, { cmd: 'setMany', 'CN-Reply': inbox }]);
    const [result] = decode((await answers.next()).raw);
    assert.equal(result.seq, 2);
    assert.equal((await stream.get({ seq: 2 })).value, 7);
  });

  test('persist_035 nil is absent', async (t) => {
    const stream = await open(t, 't035');
    const nothing = { key: null, headers: null, ttl: null, previousSeq: null, msgID: null, checkpoint: null };
    assert.equal((await stream.set(1, nothing)).seq, 1);
    assert.equal((await stream.setMany([operation(2, nothing)]))[0].seq, 2);
    assert.equal((await stream.setMany([operation(3, { key: 'k', previousSeq: null })]))[0].seq, 3);
    assert.equal((await stream.get({ seq: null, key: 'k' })).value, 3);
    assert.equal((await stream.getAll({ start_seq: null, end_seq: null })).messages.length, 3);
    assert.deepEqual(await stream.delete({ all: null, last_seq: null, seq: null, seqs: [1] }), { seqs: [1] });
    assert.equal((await stream.config({ max_msgs: null })).max_msgs, -1);
    assert.deepEqual(await stream.contents(), [2, 3]);
  });
});
