// conat-wire.md §26.5: subscribe, unsubscribe, subscriptions.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { systemCookie } from '../../support/cookies.mjs';
import { connectRaw } from '../../support/raw.mjs';
import { ACCOUNT, startServer } from '../../support/server.mjs';
import { until } from '../../support/wait.mjs';

const mine = (name) => `${name}.account-${ACCOUNT}`;

describe('subscribe', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.stop());

  test('wire_061 a subscription is added once', async (t) => {
    const client = await connect(t, server);
    assert.deepEqual(await client.ask('subscribe', { subject: 't061', queue: 'q' }), { status: 'added' });
    assert.deepEqual(await client.ask('subscribe', { subject: 't061', queue: 'q' }), { status: 'already-added' });
    assert.equal(await client.count('t061'), 1);
  });

  test('wire_061 unknown fields and an empty queue name are accepted', async (t) => {
    const client = await connect(t, server);
    const odd = { subject: 't061.odd', queue: '', sticky: true, extra: { deep: [1] } };
    assert.deepEqual(await client.ask('subscribe', odd), { status: 'added' });
    assert.equal(await client.count('t061.odd'), 1);
  });

  test('wire_062 subscribing again with another queue does not change the group', async (t) => {
    const [one, two] = [await connect(t, server), await connect(t, server)];
    const first = await one.subscribe('t062', 'old');
    const second = await two.subscribe('t062', 'old');
    assert.deepEqual(await one.ask('subscribe', { subject: 't062', queue: 'new' }), { status: 'already-added' });
    for (let round = 0; round < 50; round++) assert.equal(await two.count('t062'), 1);
    await until(() => first.items.length + second.items.length === 50, 'all 50 messages at one of the two');
  });

  test('wire_063 a subscription without queue is refused', async (t) => {
    const client = await connect(t, server);
    for (const queue of [undefined, null, 7, {}]) {
      const { error } = await client.ask('subscribe', { subject: 't063', queue });
      assert.match(error, /queue/);
    }
    assert.deepEqual(await client.ask('subscriptions'), []);
  });

  test('wire_064 an array is answered element by element', async (t) => {
    const client = await connect(t, server);
    await client.subscribe('t064.old');
    const answers = await client.ask('subscribe', [
      { subject: 't064.a', queue: 'q' },
      { subject: 't064.old', queue: 'q' },
      { subject: 't064..bad', queue: 'q' },
      { subject: 't064.no-queue' },
      { subject: 't064.a', queue: 'q' },
      { subject: 't064.b', queue: 'q' },
    ]);
    assert.equal(answers.length, 6);
    assert.deepEqual(
      answers.map(({ status, error }) => status ?? error.replace(/.*(invalid subject|queue).*/, '$1')),
      ['added', 'already-added', 'invalid subject', 'queue', 'already-added', 'added'],
    );
    assert.deepEqual(await client.ask('subscribe', []), []);
    assert.deepEqual(await client.ask('subscriptions'), ['t064.old', 't064.a', 't064.b']);
  });

  test('wire_064 malformed elements and arguments do no harm', async (t) => {
    const client = await connect(t, server);
    const answers = await client.ask('subscribe', [null, 7, 'text', [], { subject: 't064.good', queue: 'q' }]);
    assert.equal(answers.length, 5);
    for (const { error } of answers.slice(0, 4)) assert.equal(typeof error, 'string');
    assert.deepEqual(answers[4], { status: 'added' });
    for (const argument of [null, 7, 'text', {}]) {
      assert.equal(typeof (await client.ask('subscribe', argument)).error, 'string', JSON.stringify(argument));
    }
  });

  test('wire_065 what is published after the acknowledgement is delivered', async (t) => {
    const publisher = await connect(t, server);
    for (let round = 0; round < 50; round++) {
      const subscriber = await connect(t, server);
      const messages = await subscriber.subscribe(`t065.${round}`);
      publisher.send(`t065.${round}`, round);
      await messages.next();
      subscriber.close();
    }
  });

  test('wire_066 unsubscribe is acknowledged with null, an array with nulls', async (t) => {
    const peer = await connectRaw(t, server);
    for (const pattern of ['t066.a', 't066.b', 't066.c']) await peer.subscribe(pattern);
    assert.deepEqual(await peer.ask('unsubscribe', { subject: 't066.a' }), [null]);
    assert.deepEqual(await peer.ask('unsubscribe', [{ subject: 't066.b' }, { subject: 't066.c' }]), [[null, null]]);
    assert.deepEqual(await peer.ask('subscriptions', null), [[]]);
  });

  test('wire_067 unsubscribing what is not subscribed is harmless', async (t) => {
    const peer = await connectRaw(t, server);
    const other = await connectRaw(t, server);
    await other.subscribe('t067.theirs');
    await peer.subscribe('t067.mine');
    assert.deepEqual(await peer.ask('unsubscribe', { subject: 't067.theirs' }), [null]);
    assert.deepEqual(await peer.ask('unsubscribe', [{ subject: 'x..y' }, { subject: 't067' }]), [[null, null]]);
    for (const argument of [null, 7, 'text', {}, [null]]) {
      const answer = await peer.ask('unsubscribe', argument);
      assert.equal(answer.length, 1, JSON.stringify(argument));
    }
    assert.equal((await peer.publishAcked('t067.theirs', [0xc0])).count, 1);
    assert.equal((await peer.publishAcked('t067.mine', [0xc0])).count, 1);
  });

  test('wire_068 after the acknowledgement of unsubscribe nothing arrives any more', async (t) => {
    const subscriber = await connect(t, server);
    const publisher = await connect(t, server);
    const messages = await subscriber.subscribe('t068');
    const marker = await subscriber.subscribe('t068.marker');
    assert.equal(await publisher.count('t068'), 1);
    await subscriber.ask('unsubscribe', { subject: 't068' });
    messages.drain();
    assert.equal(await publisher.count('t068'), 0);
    assert.equal(await publisher.count('t068.marker'), 1);
    await marker.next();
    assert.equal(messages.items.length, 0);
  });

  test('wire_069 subscriptions lists the current patterns, oldest first', async (t) => {
    const client = await connect(t, server);
    const patterns = ['t069.z', 't069.*', 't069.a.>', 't069.b'];
    for (const pattern of patterns) await client.subscribe(pattern);
    assert.deepEqual(await client.ask('subscriptions'), patterns);
    await client.ask('unsubscribe', { subject: 't069.*' });
    assert.deepEqual(await client.ask('subscriptions'), ['t069.z', 't069.a.>', 't069.b']);
    await client.subscribe('t069.*');
    for (const argument of [null, {}, 'anything', 7]) {
      assert.deepEqual(await client.ask('subscriptions', argument), ['t069.z', 't069.a.>', 't069.b', 't069.*']);
    }
  });

  test('wire_069 subscriptions without any argument is answered, without ack id ignored', async (t) => {
    const peer = await connectRaw(t, server);
    assert.deepEqual(await peer.ask('subscriptions'), [[]]);
    peer.emit('subscriptions', null);
    await peer.ask('subscriptions', null);
    assert.equal(peer.packets.items.length, 0);
  });
});

describe('subscription limits', { concurrency: true }, () => {
  let server;
  before(async () => {
    const limits = { OUTPOST_MAX_SUBSCRIPTIONS_PER_CLIENT: '3', OUTPOST_MAX_SUBSCRIPTIONS_PER_HUB: '5' };
    server = await startServer(undefined, { policy: 'lite', env: { OUTPOST_SYSTEM_PASSWORD: 'pw', ...limits } });
  });
  after(() => server?.stop());

  test('wire_070 the fourth subscription of three is refused until one is given up', async (t) => {
    const client = await connect(t, server);
    for (const name of ['a', 'b', 'c']) await client.subscribe(mine(name));
    const refused = await client.ask('subscribe', { subject: mine('d'), queue: 'q' });
    assert.equal(refused.code, 429);
    assert.match(refused.error, /limit/);
    // What is there already needs no place.
    assert.deepEqual(await client.ask('subscribe', { subject: mine('a'), queue: 'q' }), { status: 'already-added' });
    await client.ask('unsubscribe', { subject: mine('b') });
    await client.subscribe(mine('d'));
    assert.deepEqual(await client.ask('subscriptions'), [mine('a'), mine('c'), mine('d')]);
  });

  test('wire_071 the inbox of a client counts', async (t) => {
    const client = await connect(t, server);
    await client.openInbox();
    await client.subscribe(mine('a'));
    await client.subscribe(mine('b'));
    assert.equal((await client.ask('subscribe', { subject: mine('c'), queue: 'q' })).code, 429);
  });

  test('wire_072 a hub has a limit of its own', async (t) => {
    const hub = await connect(t, server, { cookie: systemCookie('pw') });
    for (let number = 0; number < 5; number++) await hub.subscribe(`t072.${number}`);
    const refused = await hub.ask('subscribe', { subject: 't072.5', queue: 'q' });
    assert.equal(refused.code, 429);
    assert.match(refused.error, /limit/);
  });

  test('wire_073 the default limits are 500 and 15 000', async (t) => {
    const ordinary = await startServer(t, { policy: 'lite', env: { OUTPOST_SYSTEM_PASSWORD: 'pw' } });
    for (const [cookie, limit] of [
      [undefined, 500],
      [systemCookie('pw'), 15_000],
    ]) {
      const client = await connect(t, ordinary, { cookie });
      const wanted = Array.from({ length: limit + 1 }, (_, number) => ({
        subject: `${mine('t073')}.${number}`,
        queue: 'q',
      }));
      const answers = await client.ask('subscribe', wanted, 60_000);
      assert.ok(answers.slice(0, limit).every(({ status }) => status === 'added'));
      assert.equal(answers[limit].code, 429);
    }
  });

  test('wire_073 0 turns a limit off', async (t) => {
    const boundless = await startServer(t, { env: { OUTPOST_MAX_SUBSCRIPTIONS_PER_CLIENT: '0' } });
    const client = await connect(t, boundless);
    const wanted = Array.from({ length: 2_000 }, (_, number) => ({ subject: `t073.${number}`, queue: 'q' }));
    const answers = await client.ask('subscribe', wanted, 60_000);
    assert.ok(answers.every(({ status }) => status === 'added'));
  });
});
