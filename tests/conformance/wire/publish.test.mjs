// conat-wire.md §26.4: publish, delivery, frames.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { connect, valueOf } from '../../support/client.mjs';
import { PACKET } from '../../support/packet.mjs';
import { connectRaw } from '../../support/raw.mjs';
import { ACCOUNT, startServer } from '../../support/server.mjs';
import { quiet } from '../../support/wait.mjs';

describe('publish', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.stop());

  test('wire_047 a frame arrives as an event named with the pattern', async (t) => {
    const subscriber = await connectRaw(t, server);
    const publisher = await connectRaw(t, server);
    await subscriber.subscribe('t047.*');
    publisher.publish('t047.a', [0xa3, 0x78, 0x78, 0x78]);
    const { text } = await subscriber.wire.next({ where: (message) => message.text?.includes('t047.a') });
    assert.match(text, /^451-\["t047\.\*",/);
    assert.deepEqual(JSON.parse(text.slice(4)), [
      't047.*',
      { subject: 't047.a', data: ['id00000001', 0, 1, 0, { _placeholder: true, num: 0 }] },
    ]);
    const { bytes } = await subscriber.wire.next({ where: (message) => message.bytes });
    assert.deepEqual([...bytes], [0xa3, 0x78, 0x78, 0x78]);
    const packet = await subscriber.event('t047.*');
    assert.equal(packet.type, PACKET.binaryEvent);
    assert.equal(packet.id, undefined);
    assert.equal(packet.args.length, 1);
  });

  test('wire_048 headers make a sixth element and arrive deep-equal', async (t) => {
    const client = await connect(t, server);
    const messages = await client.subscribe('t048');
    const headers = {
      a: 'b',
      nested: { list: [1, 2.5, -3, 1e300, null, true, { deep: [] }], empty: {} },
      'ключ "quoted" \\ \u2028': '☃ \u0000 \ud83d\ude00 </script>',
      '': '',
    };
    await client.publish('t048', 1);
    await client.publish('t048', 2, { headers });
    await client.publish('t048', 3, { headers: 'a bare string' });
    const [without, with_, bare] = await messages.take(3);
    assert.equal(without.data.length, 5);
    assert.equal(with_.data.length, 6);
    assert.deepEqual(with_.headers, headers);
    assert.equal(bare.headers, 'a bare string');
  });

  test('wire_048 header JSON keeps its text, also where JavaScript would change it', async (t) => {
    const peer = await connectRaw(t, server);
    await peer.subscribe('t048.text');
    const json = '{"n":12345678901234567890.10,"half":"\\ud800","twice":1,"twice":2}';
    peer.send(`451-["publish",["t048.text","id00000001",0,1,0,{"_placeholder":true,"num":0},${json}]]`);
    peer.send(Buffer.from([0xc0]));
    const { text } = await peer.wire.next({ where: (message) => message.text?.includes('"subject":"t048.text"') });
    assert.ok(text.includes(json), text);
  });

  test('wire_049 payload bytes arrive identical at every length', async (t) => {
    const subscriber = await connect(t, server);
    const publisher = await connectRaw(t, server);
    const messages = await subscriber.subscribe('t049');
    for (const length of [0, 1, 100, 125, 126, 65_535, 65_536, 70_000, 7_900_000]) {
      const raw = randomBytes(length);
      assert.equal((await publisher.publishAcked('t049', raw)).count, 1, `${length} bytes`);
      const message = await messages.next();
      assert.ok(raw.equals(Buffer.from(message.raw)), `${length} bytes`);
    }
  });

  test('wire_050 unknown encodings are forwarded unchanged', async (t) => {
    const peer = await connectRaw(t, server);
    await peer.subscribe('t050');
    for (const encoding of [1, 7, 255, -1, 1_000_000]) {
      // Bytes that are neither MessagePack nor JSON.
      await peer.publishAcked('t050', [0xc1, 0xff, 0x00], { encoding });
      const { args } = await peer.event('t050');
      assert.equal(args[0].data[3], encoding);
      assert.deepEqual([...args[0].data[4]], [0xc1, 0xff, 0x00]);
    }
  });

  test('wire_051 binary values inside headers arrive as binary and in order', async (t) => {
    const client = await connect(t, server);
    const messages = await client.subscribe('t051');
    const headers = {
      first: Buffer.from('one'),
      list: [Buffer.from(''), { deep: Buffer.from([1, 2, 3]) }],
      plain: 'x',
    };
    assert.equal((await client.publish('t051', 'body', { headers })).count, 1);
    const message = await messages.next();
    assert.equal(valueOf(message), 'body');
    assert.deepEqual(plain(message.headers), plain(headers));
  });

  test('wire_052 a publish without ack id is delivered and not acknowledged', async (t) => {
    const peer = await connectRaw(t, server);
    await peer.subscribe('t052');
    peer.publish('t052', [0xc0]);
    await peer.event('t052');
    // Whatever the server had to say about it would come before the answer to this.
    await peer.ask('subscriptions', null);
    assert.deepEqual(peer.packets.items, []);
  });

  test('wire_053 a publish with ack id is acknowledged once with one argument', async (t) => {
    const peer = await connectRaw(t, server);
    const id = peer.emitWithId('publish', ['t053', 'id00000001', 0, 1, 0, Buffer.from([0xc0])]);
    const args = await peer.answer(id);
    assert.equal(args.length, 1);
    assert.ok(Number.isInteger(args[0].count));
    await peer.ask('subscriptions', null);
    assert.equal(peer.hasAnswer(id), false);
  });

  test('wire_054 a publish that nobody listens to counts 0', async (t) => {
    const client = await connect(t, server);
    const { count, error } = await client.publish('t054.nobody', 'x');
    assert.equal(count, 0);
    assert.equal(error, undefined);
  });

  test('wire_055 1000 publishes of one connection arrive in order', async (t) => {
    const subscriber = await connect(t, server);
    const publisher = await connect(t, server);
    const messages = await subscriber.subscribe('t055.*');
    for (let number = 0; number < 1000; number++) publisher.send(`t055.${number % 7}`, number);
    const received = await messages.take(1000, { ms: 30_000 });
    received.forEach((message, number) => assert.equal(valueOf(message), number));
  });

  test('wire_055 order also holds across new subjects that each need a permission check', async (t) => {
    const lite = await startServer(t, { policy: 'lite' });
    const client = await connect(t, lite);
    const messages = await client.subscribe(`t.account-${ACCOUNT}.>`);
    for (let number = 0; number < 1000; number++) client.send(`t.account-${ACCOUNT}.s${number}`, number);
    const received = await messages.take(1000, { ms: 30_000 });
    received.forEach((message, number) => assert.equal(valueOf(message), number));
  });

  test('wire_056 chunks are forwarded one by one and unchanged', async (t) => {
    const subscriber = await connectRaw(t, server);
    const publisher = await connectRaw(t, server);
    await subscriber.subscribe('t056');
    const chunks = ['aaaaa', 'bbbbb', 'c'];
    for (const [seq, text] of chunks.entries()) {
      const last = seq === chunks.length - 1;
      const options = { id: 'chunked001', seq, done: last ? 1 : 0, headers: last ? { h: 1 } : undefined };
      assert.equal((await publisher.publishAcked('t056', Buffer.from(text), options)).count, 1);
    }
    const frames = (await subscriber.packets.take(3)).map(({ args }) => args[0].data);
    assert.deepEqual(plain(frames), [
      ['chunked001', 0, 0, 0, 'hex 6161616161'],
      ['chunked001', 1, 0, 0, 'hex 6262626262'],
      ['chunked001', 2, 1, 0, 'hex 63', { h: 1 }],
    ]);
    // Sequence numbers are opaque to the server, also senseless ones.
    await publisher.publishAcked('t056', [1], { seq: 7, done: 0 });
    assert.equal((await subscriber.event('t056')).args[0].data[1], 7);
  });

  test('wire_057 a publisher receives its own message', async (t) => {
    const client = await connect(t, server);
    const messages = await client.subscribe('t057');
    assert.equal((await client.publish('t057', 'me')).count, 1);
    assert.equal(valueOf(await messages.next()), 'me');
  });

  test('wire_058 malformed publishes are answered with an error', async (t) => {
    const peer = await connectRaw(t, server);
    const raw = Buffer.from([0xc0]);
    const malformed = ['notanarray', null, 7, {}, [], [7, 'id', 0, 1, 0, raw], [{ a: raw }], [[[[]]]]];
    for (const argument of malformed) {
      const answer = await peer.ask('publish', argument);
      assert.equal(answer.length, 1);
      assert.equal(typeof answer[0].error, 'string', JSON.stringify(argument));
      if (!/invalid subject/.test(answer[0].error)) assert.equal(answer[0].code, 400, JSON.stringify(argument));
    }
    const [withoutArgument] = await peer.ask('publish');
    assert.equal(withoutArgument.code, 400);
    // Everything after the subject is opaque, so these may be routed or refused, but not left unanswered.
    for (const argument of [['t058'], ['t058', 'id', 0, 1, 0, 'text'], ['t058', raw, raw, raw, raw, raw]]) {
      const [{ count, error }] = await peer.ask('publish', argument);
      assert.ok(count === 0 || typeof error === 'string', JSON.stringify(argument));
    }
    assert.equal((await peer.publishAcked('t058', raw)).count, 0);
  });

  test('wire_059 cluster targets of a client are ignored', async (t) => {
    const victim = await connectRaw(t, server);
    const subscriber = await connectRaw(t, server);
    const attacker = await connectRaw(t, server);
    await victim.subscribe('t059.victim');
    await subscriber.subscribe('t059.subject');
    const rooms = ['t059.victim', 'info', 'permission', 't059.subject'].flatMap((pattern) => [
      { pattern, target: JSON.stringify({ id: victim.sid, subject: 't059.victim' }) },
      { pattern, target: victim.sid },
    ]);
    const [answer] = await attacker.ask('publish', [
      ...['t059.subject', 'id00000001', 0, 1, 0, Buffer.from([0xc0])],
      null,
      rooms,
    ]);
    assert.equal(answer.count, 1);
    await subscriber.event('t059.subject');
    // A real message to the victim comes after anything that the attack may have sent.
    await attacker.publishAcked('t059.victim', [0xc0], { id: 'honest0001' });
    const { args } = await victim.packets.next();
    assert.equal(args[0].data[0], 'honest0001');
  });

  test('wire_060 subscribers never receive cluster targets', async (t) => {
    const subscriber = await connectRaw(t, server);
    const publisher = await connectRaw(t, server);
    await subscriber.subscribe('t060');
    for (const headers of [null, { h: 1 }]) {
      await publisher.ask('publish', [
        ...['t060', 'id00000001', 0, 1, 0, Buffer.from([0xc0]), headers],
        [{ pattern: 'x', target: 'secret-target' }],
        'more',
      ]);
      const { args } = await subscriber.event('t060');
      assert.ok(args[0].data.length <= 6);
      assert.deepEqual(args[0].data[5] ?? null, headers);
      assert.doesNotMatch(JSON.stringify(args), /secret-target|more/);
    }
  });

  test('wire_060 binary values inside dropped elements are dropped with them', async (t) => {
    const subscriber = await connectRaw(t, server);
    const publisher = await connectRaw(t, server);
    await subscriber.subscribe('t060.binary');
    await publisher.ask('publish', [
      ...['t060.binary', 'id00000001', 0, 1, 0, Buffer.from('payload'), null],
      [{ pattern: 'x', target: Buffer.from('secret-target') }],
    ]);
    await publisher.publishAcked('t060.binary', Buffer.from('next'), { id: 'id00000002' });
    const [first, second] = await subscriber.packets.take(2);
    assert.equal(first.args[0].data[4].toString(), 'payload');
    assert.equal(second.args[0].data[4].toString(), 'next');
    await quiet(200);
    assert.deepEqual(subscriber.violations, []);
    const binaries = subscriber.wire.items.filter(({ bytes }) => bytes).map(({ bytes }) => bytes.toString());
    assert.deepEqual(binaries, ['payload', 'next']);
  });
});

/** Binary values as text, so that Buffer and Uint8Array compare equal. */
function plain(value) {
  if (value instanceof Uint8Array) return `hex ${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}
