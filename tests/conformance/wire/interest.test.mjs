// conat-wire.md §26.7: wait-for-interest.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { connect } from '../../support/client.mjs';
import { connectRaw } from '../../support/raw.mjs';
import { ACCOUNT, BINARY, startServer } from '../../support/server.mjs';
import { quiet, until } from '../../support/wait.mjs';

describe('interest', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.stop());

  test('wire_082 a probe is answered at once with a JSON boolean', async (t) => {
    const peer = await connectRaw(t, server);
    await peer.subscribe('t082.*');
    for (const timeout of [0, undefined, null]) {
      // Without a timeout the default applies, so only subjects with interest are answered at once.
      assert.deepEqual(await peer.ask('wait-for-interest', { subject: 't082.a', timeout }), [true]);
    }
    assert.deepEqual(await peer.ask('wait-for-interest', { subject: 't082', timeout: 0 }), [false]);
  });

  test('wire_083 a wait ends within 100 ms of a matching subscribe', async (t) => {
    const waiting = await connectRaw(t, server);
    const subscriber = await connectRaw(t, server);
    // The fastest of several: what the server can do, not what else the machine does meanwhile.
    let fastest = Infinity;
    for (let round = 0; round < 100 && fastest > 100; round++) {
      const id = waiting.emitWithId('wait-for-interest', { subject: `t083.${round}.x`, timeout: 30_000 });
      await waiting.ask('subscriptions', null);
      await subscriber.subscribe(round % 2 ? `t083.${round}.>` : `t083.${round}.x`);
      const subscribed = performance.now();
      assert.deepEqual(await waiting.answer(id), [true]);
      fastest = Math.min(fastest, performance.now() - subscribed);
    }
    assert.ok(fastest <= 100, `${fastest} ms`);
  });

  test('wire_084 nothing is answered before the timeout', async (t) => {
    const peer = await connectRaw(t, server);
    const sent = performance.now();
    const id = peer.emitWithId('wait-for-interest', { subject: 't084', timeout: 500 });
    const answer = await peer.answer(id, 2_000).catch(() => undefined);
    if (answer !== undefined) assert.ok(performance.now() - sent >= 500);
  });

  test('wire_085 after the deadline comes false, not before 250 ms more, or nothing', async (t) => {
    const peer = await connectRaw(t, server);
    const sent = performance.now();
    const id = peer.emitWithId('wait-for-interest', { subject: 't085', timeout: 500 });
    const answer = await peer.answer(id, 3_000).catch(() => undefined);
    if (answer === undefined) return;
    assert.deepEqual(answer, [false]);
    assert.ok(performance.now() - sent >= 750, `answered ${performance.now() - sent} ms after it was sent`);
  });

  test('wire_086 a longer timeout is cut to the maximum', async (t) => {
    const hasty = await startServer(t, { env: { OUTPOST_MAX_WAIT: '1s' } });
    const peer = await connectRaw(t, hasty);
    const sent = performance.now();
    const id = peer.emitWithId('wait-for-interest', { subject: 't086', timeout: 3_600_000 });
    const absent = peer.emitWithId('wait-for-interest', { subject: 't086.default' });
    await quiet(2_500);
    assert.ok(performance.now() - sent > 2_000);
    // The waits are over, so that interest which comes now is nobody's business.
    await peer.subscribe('t086.>');
    await peer.subscribe('t086');
    await quiet(500);
    for (const packet of peer.packets.items) {
      if ([id, absent].includes(packet.id)) assert.deepEqual(packet.data, [false]);
    }
  });

  test('wire_086 the maximum is 90 s unless it is set', async () => {
    const { stdout } = await promisify(execFile)(BINARY, ['check', '--print'], { env: { HOME: tmpdir() } });
    assert.match(stdout, /^max_wait +90s +default$/m);
  });

  test('wire_087 an invalid or wildcard subject is refused', async (t) => {
    const client = await connect(t, server);
    for (const subject of ['a.*', 'a.>', '>', '*', 'a b', '', 'a..b']) {
      const answer = await client.ask('wait-for-interest', { subject, timeout: 500 });
      assert.deepEqual(answer, { error: 'invalid subject' }, JSON.stringify(subject));
    }
    for (const argument of [null, 7, 'text', {}, { subject: 7 }, { subject: null, timeout: 0 }]) {
      const { error } = await client.ask('wait-for-interest', argument);
      assert.equal(typeof error, 'string', JSON.stringify(argument));
    }
    // A timeout of a wrong type is no reason to fail.
    await client.subscribe('t087');
    for (const timeout of ['soon', -1, {}, [], true, 1e308]) {
      const answer = await client.ask('wait-for-interest', { subject: 't087', timeout });
      assert.ok(answer === true || typeof answer.error === 'string', JSON.stringify(timeout));
    }
  });

  test('wire_088 without publish permission the wait is refused and no permission event comes', async (t) => {
    const lite = await startServer(t, { policy: 'lite' });
    const client = await connect(t, lite);
    const answer = await client.ask('wait-for-interest', { subject: 'sys.conat.default', timeout: 500 });
    assert.equal(answer.code, 403);
    assert.match(answer.error, /permission denied/);
    // `public.` may be listened to but not published to: the permission that counts is that of a publisher.
    assert.equal((await client.ask('wait-for-interest', { subject: 'public.x', timeout: 0 })).code, 403);
    assert.equal(await client.interest(`t.account-${ACCOUNT}`), false);
    assert.equal(client.permissions.items.length, 0);
  });

  test('wire_089 without ack id it has no effect', async (t) => {
    const peer = await connectRaw(t, server);
    peer.emit('wait-for-interest', { subject: 't089', timeout: 0 });
    peer.emit('wait-for-interest', { subject: 't089', timeout: 500 });
    peer.emit('wait-for-interest', { subject: 't089.*', timeout: 500 });
    await peer.subscribe('t089');
    await quiet(1_000);
    assert.deepEqual(peer.packets.items, []);
  });

  test('wire_090 the answer is a bare boolean', async (t) => {
    const peer = await connectRaw(t, server);
    const other = await connectRaw(t, server);
    await other.subscribe('t090.secret.*');
    const id = peer.emitWithId('wait-for-interest', { subject: 't090.secret.a', timeout: 0 });
    const { text } = await peer.wire.next({ where: (message) => message.text?.startsWith(`43${id}[`) });
    assert.equal(text, `43${id}[true]`);
  });

  test('wire_091 a tap is no interest', async (t) => {
    const alone = await startServer(t);
    const tap = await connect(t, alone);
    const client = await connectRaw(t, alone);
    await tap.subscribe('>');
    assert.deepEqual(await client.ask('wait-for-interest', { subject: 't091', timeout: 0 }), [false]);
    // Nor does a tap that comes later end a wait; what ends it is a subscriber.
    const id = client.emitWithId('wait-for-interest', { subject: 't091', timeout: 30_000 });
    const secondTap = await connect(t, alone);
    await secondTap.subscribe('>');
    await client.ask('subscriptions', null);
    assert.equal(client.hasAnswer(id), false);
    await tap.subscribe('t091');
    assert.deepEqual(await client.answer(id), [true]);
  });

  test('wire_092 a disconnect leaves no waiter behind', async (t) => {
    const alone = await startServer(t);
    const waiting = () => alone.metric('outpost_broker_waits');
    const peers = await Promise.all(Array.from({ length: 10 }, () => connectRaw(t, alone)));
    assert.equal(await waiting(), 0);
    for (const peer of peers) {
      for (let number = 0; number < 100; number++) {
        peer.emitWithId('wait-for-interest', { subject: `t092.${number}`, timeout: 90_000 });
      }
    }
    await until(async () => (await waiting()) === 1000, '1000 waits');
    peers.forEach((peer, index) => (index % 2 ? peer.close() : peer.terminate()));
    await until(async () => (await waiting()) === 0, 'no wait');
    const witness = await connect(t, alone);
    await witness.subscribe('t092.*');
    assert.equal(await witness.count('t092.1'), 1);
  });
});
