// conat-wire.md §26.6: queue groups, counts, taps.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, valueOf } from '../../support/client.mjs';
import { connectRaw } from '../../support/raw.mjs';
import { startServer } from '../../support/server.mjs';
import { until } from '../../support/wait.mjs';

describe('queue groups', () => {
  let server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.stop());

  /** Clients of one test, in one line. */
  const clients = (t, count) => Promise.all(Array.from({ length: count }, () => connect(t, server)));

  test('wire_074 of two members of one group each publish reaches exactly one', async (t) => {
    const [one, two, publisher] = await clients(t, 3);
    const inboxes = [await one.subscribe('t074', 'group'), await two.subscribe('t074', 'group')];
    for (let number = 0; number < 200; number++) {
      assert.equal((await publisher.publish('t074', number)).count, 1);
    }
    await until(() => inboxes[0].items.length + inboxes[1].items.length >= 200, '200 deliveries');
    const seen = inboxes.flatMap((inbox) => inbox.items.map(valueOf)).sort((a, b) => a - b);
    assert.deepEqual(
      seen,
      Array.from({ length: 200 }, (_, number) => number),
    );
    for (const inbox of inboxes) assert.ok(inbox.items.length > 50, `one member got ${inbox.items.length} of 200`);
  });

  test('wire_075 different queues on one pattern both receive', async (t) => {
    const [one, two, publisher] = await clients(t, 3);
    const inboxes = [await one.subscribe('t075', 'first'), await two.subscribe('t075', 'second')];
    for (let number = 0; number < 20; number++) assert.equal(await publisher.count('t075'), 2);
    for (const inbox of inboxes) await inbox.take(20);
  });

  test('wire_076 one queue name on two patterns is two groups', async (t) => {
    const [one, two, publisher] = await clients(t, 3);
    const inboxes = [await one.subscribe('t076.*', '0'), await two.subscribe('t076.b', '0')];
    for (let number = 0; number < 20; number++) assert.equal(await publisher.count('t076.b'), 2);
    for (const inbox of inboxes) await inbox.take(20);
  });

  test('wire_077 one socket with two matching patterns receives twice', async (t) => {
    const peer = await connectRaw(t, server);
    await peer.subscribe('t077.*');
    await peer.subscribe('t077.b');
    assert.equal((await peer.publishAcked('t077.b', [0xc0])).count, 2);
    const names = (await peer.packets.take(2)).map(({ name }) => name);
    assert.deepEqual(names.sort(), ['t077.*', 't077.b']);
  });

  test('wire_078 a tap receives everything and is not counted', async (t) => {
    const [tap, subscriber, publisher] = await clients(t, 3);
    const tapped = await tap.subscribe('>');
    assert.equal(await publisher.count('t078'), 0);
    assert.equal((await tapped.next()).subject, 't078');
    await subscriber.subscribe('t078');
    assert.equal(await publisher.count('t078'), 1);
    assert.equal((await tapped.next()).subject, 't078');
  });

  test('wire_079 a.> is counted', async (t) => {
    const [subscriber, publisher] = await clients(t, 2);
    await subscriber.subscribe('t079.>');
    assert.equal(await publisher.count('t079.a'), 1);
    assert.equal(await publisher.count('t079.a.b'), 1);
  });

  test('wire_080 when a member leaves everything goes to the other', async (t) => {
    const [leaving, staying, publisher] = await clients(t, 3);
    await leaving.subscribe('t080', 'group');
    const inbox = await staying.subscribe('t080', 'group');
    leaving.close();
    // The server may need a moment to notice; from then on nothing is lost.
    await until(async () => {
      inbox.drain();
      const counts = await Promise.all(Array.from({ length: 20 }, () => publisher.count('t080')));
      assert.ok(counts.every((count) => count === 1));
      return until(() => inbox.items.length === 20, 'all 20', 1_000).catch(() => false);
    }, 'all publishes at the remaining member');
    for (let number = 0; number < 100; number++) assert.equal(await publisher.count('t080'), 1);
    await inbox.take(120);
  });

  test('wire_081 the chunks of one message all go to one member', async (t) => {
    const members = await Promise.all(Array.from({ length: 3 }, () => connectRaw(t, server)));
    const publisher = await connectRaw(t, server);
    for (const member of members) await member.subscribe('t081', 'group');
    const messages = 100;
    const winners = new Map();
    for (let number = 0; number < messages; number++) {
      for (const seq of [0, 1, 2]) {
        publisher.publish('t081', [seq], { id: `message${number}`, seq, done: seq === 2 ? 1 : 0 });
      }
    }
    await publisher.ask('subscriptions', null);
    const total = () => members.reduce((sum, { packets }) => sum + packets.items.length, 0);
    await until(() => total() === 3 * messages, 'all chunks');
    for (const [who, member] of members.entries()) {
      const next = new Map();
      for (const { args } of member.packets.drain()) {
        const [id, seq] = args[0].data;
        assert.equal(winners.get(id) ?? who, who, `${id} went to two members`);
        winners.set(id, who);
        assert.equal(seq, next.get(id) ?? 0, `${id} out of order`);
        next.set(id, seq + 1);
      }
    }
    assert.equal(winners.size, messages);
    assert.equal(new Set(winners.values()).size, 3, 'every member got some');
  });

  test('wire_081 equal message ids of two publishers are two messages', async (t) => {
    const members = await Promise.all(Array.from({ length: 3 }, () => connectRaw(t, server)));
    const publishers = await Promise.all(Array.from({ length: 2 }, () => connectRaw(t, server)));
    for (const member of members) await member.subscribe('t081.same', 'group');
    for (let number = 0; number < 50; number++) {
      for (const seq of [0, 1, 2]) {
        for (const [who, publisher] of publishers.entries()) {
          const options = { id: `message${number}`, seq, done: seq === 2 ? 1 : 0 };
          publisher.publish('t081.same', [who], options);
        }
      }
    }
    const total = () => members.reduce((sum, { packets }) => sum + packets.items.length, 0);
    await until(() => total() === 2 * 3 * 50, 'all chunks');
    const winners = new Map();
    for (const [member, { packets }] of members.entries()) {
      for (const { args } of packets.items) {
        const [id, , , , raw] = args[0].data;
        const key = `${raw[0]}/${id}`;
        assert.equal(winners.get(key) ?? member, member, `${key} went to two members`);
        winners.set(key, member);
      }
    }
  });
});
