// conat-wire.md §26.2: who a connection is, what `info` says, and what ends with it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { connect, dial } from '../../support/client.mjs';
import { accountCookie, projectCookie, systemCookie } from '../../support/cookies.mjs';
import { PACKET } from '../../support/packet.mjs';
import { connectRaw, openRaw } from '../../support/raw.mjs';
import { ACCOUNT, PROJECT, startServer } from '../../support/server.mjs';
import { quiet, until, within } from '../../support/wait.mjs';

const TOKEN = 'a-long-access-token';
const ACCOUNT_SUBJECT = `t.account-${ACCOUNT}.x`;

describe('sign-in without accounts', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.stop());

  test('wire_021 after CONNECT comes info as an event with ack id', async (t) => {
    const peer = await openRaw(t, server);
    await peer.connect();
    const packet = await peer.packets.next();
    assert.equal(packet.type, PACKET.event);
    assert.equal(packet.name, 'info');
    assert.ok(Number.isInteger(packet.id));
    assert.equal(packet.args.length, 1);
    const [info] = packet.args;
    assert.equal(info.max_payload, 8_000_000);
    assert.equal(info.id, '0');
    assert.ok('user' in info);
  });

  test('wire_021 the id in info is a setting', async (t) => {
    const other = await startServer(t, { env: { OUTPOST_SERVER_ID: 'edge7' } });
    assert.equal((await connect(t, other)).info.id, 'edge7');
  });

  test('wire_022 without accounts the user is null and everything works', async (t) => {
    const client = await connect(t, server);
    assert.equal(client.info.user, null);
    const messages = await client.subscribe('t022.>');
    assert.equal(await client.count('t022.a'), 1);
    assert.equal((await messages.next()).subject, 't022.a');
  });

  test('wire_023 clusterName is absent unless one is configured', async (t) => {
    const alone = await connect(t, server);
    assert.equal('clusterName' in alone.info, false);
    const named = await startServer(t, { env: { OUTPOST_CLUSTER_NAME: 'blue' } });
    assert.equal((await connect(t, named)).info.clusterName, 'blue');
  });

  test('wire_025 info is repeated until it is acknowledged', async (t) => {
    const peer = await openRaw(t, server, { ackInfo: false });
    await peer.connect();
    const first = await peer.event('info');
    const second = await peer.event('info', { ms: 22_000 });
    const seconds = (second.at - first.at) / 1000;
    assert.ok(seconds > 10 && seconds < 20, `repeated after ${seconds} s`);
    assert.deepEqual(second.args, first.args);
    peer.send(`43${second.id}[]`);
    // The next repetition would be due 7.5 s plus 8.45 s later.
    await quiet(20_000);
    assert.equal(peer.packets.items.filter(({ name }) => name === 'info').length, 0);
    assert.ok(peer.isOpen);
  });

  test('wire_026 an info that is never acknowledged hinders nothing', async (t) => {
    const peer = await connectRaw(t, server, { ackInfo: false });
    assert.deepEqual(await peer.subscribe('t026'), { status: 'added' });
    assert.equal((await peer.publishAcked('t026', [0xc0])).count, 1);
    await peer.event('t026');
  });

  test('wire_031 a subscribe sent before info is effective', async (t) => {
    const peer = await openRaw(t, server);
    await peer.connect();
    peer.emit('subscribe', { subject: 't031', queue: 'q' });
    peer.publish('t031', [0xc0], { id: 'early00001' });
    await peer.event('info');
    const { args } = await peer.event('t031');
    assert.equal(args[0].data[0], 'early00001');
    assert.deepEqual(await peer.ask('subscriptions', null), [['t031']]);
  });

  test('wire_032 after a disconnect publishes to the patterns of the client count 0', async (t) => {
    const witness = await connect(t, server);
    const endings = {
      close: (peer) => peer.close(),
      'cut off': (peer) => peer.terminate(),
      '41 and close': (peer) => {
        peer.send('41');
        peer.close();
      },
    };
    for (const [name, end] of Object.entries(endings)) {
      const peer = await connectRaw(t, server);
      await peer.subscribe('t032.*');
      assert.equal(await witness.count('t032.a'), 1, name);
      end(peer);
      await until(async () => (await witness.count('t032.a')) === 0, `count 0 after ${name}`);
    }
  });

  test('wire_033 a reconnecting client has a new sid and no subscriptions', async (t) => {
    const client = await connect(t, server, { reconnection: true });
    await client.subscribe('t033');
    const { sid } = client;
    const reconnected = once(client.socket, 'connect');
    client.socket.io.engine.close();
    await within(10_000, reconnected, 'reconnect');
    assert.notEqual(client.sid, sid);
    assert.deepEqual(await client.ask('subscriptions'), []);
  });
});

describe('sign-in with accounts', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer(undefined, {
      policy: 'lite',
      env: { AUTH_TOKEN: TOKEN, OUTPOST_SYSTEM_PASSWORD: 'pw', OUTPOST_PROJECT_SECRET: 'project secret' },
    });
  });
  after(() => server?.stop());

  test('wire_024 info.user is exactly the signed-in user', async (t) => {
    const users = [
      [accountCookie(TOKEN), { account_id: ACCOUNT }],
      [systemCookie('pw'), { hub_id: 'system' }],
      ['hub_password=pw', { hub_id: 'system' }],
      [projectCookie(PROJECT, 'project secret'), { project_id: PROJECT }],
    ];
    for (const [cookie, user] of users) {
      assert.deepEqual((await connect(t, server, { cookie })).info.user, user);
    }
  });

  test('wire_027 a failed sign-in is told in info and can do nothing', async (t) => {
    const client = dial(t, server);
    const info = await client.infos.next();
    assert.equal(typeof info.user.error, 'string');
    assert.notEqual(info.user.error, '');
    assert.equal('account_id' in info.user, false);
    // Either the connection is closed soon, or it stays and every operation is refused.
    const operations = [
      client.publish(ACCOUNT_SUBJECT, null),
      client.ask('subscribe', { subject: ACCOUNT_SUBJECT, queue: 'q' }),
      client.ask('subscribe', { subject: 'public.x', queue: 'q' }),
    ];
    for (const outcome of await Promise.allSettled(operations)) {
      if (outcome.status === 'fulfilled') assert.equal(outcome.value.code, 403);
    }
  });

  test('wire_028 the cookies of the WebSocket handshake decide', async (t) => {
    assert.deepEqual((await connect(t, server, { cookie: accountCookie(TOKEN) })).info.user, { account_id: ACCOUNT });
    const among = `theme=dark; ${accountCookie(TOKEN)}; other=%41`;
    assert.deepEqual((await connect(t, server, { cookie: among })).info.user, { account_id: ACCOUNT });
    for (const cookie of [undefined, 'theme=dark', accountCookie('some-other-token'), 'cocalc-lite-auth=%zz']) {
      assert.ok((await connect(t, server, { cookie })).info.user.error, `cookie ${cookie}`);
    }
  });

  test('wire_029 the system password signs in and a wrong one is invalid', async (t) => {
    assert.deepEqual((await connect(t, server, { cookie: 'sys=pw' })).info.user, { hub_id: 'system' });
    // A wrong password fails even beside a valid cookie.
    for (const cookie of ['sys=wrong', 'sys=', `${accountCookie(TOKEN)}; sys=wrong`]) {
      assert.match((await connect(t, server, { cookie })).info.user.error, /invalid/i);
    }
  });

  test('wire_030 the 101st connection of a user is refused until one of the others closes', async (t) => {
    const counted = await startServer(t, { policy: 'lite', env: { OUTPOST_SYSTEM_PASSWORD: 'pw' } });
    const peers = await Promise.all(Array.from({ length: 100 }, () => connectRaw(t, counted)));
    for (const peer of peers) assert.deepEqual(peer.info.user, { account_id: ACCOUNT });
    const refused = (await connectRaw(t, counted)).info.user;
    assert.match(refused.error, /limit/);
    assert.equal(refused.code, 429);
    // Others are not counted with them.
    assert.deepEqual((await connectRaw(t, counted, { cookie: 'sys=pw' })).info.user, { hub_id: 'system' });
    peers[41].close();
    await until(async () => {
      const peer = await connectRaw(t, counted);
      const admitted = !peer.info.user.error;
      if (!admitted) peer.terminate();
      return admitted;
    }, 'a place after a close');
  });

  test('a token keeps others out also where everything is allowed', async (t) => {
    const limits = { AUTH_TOKEN: TOKEN, OUTPOST_MAX_CONNECTIONS: '2' };
    const open = await startServer(t, { policy: 'open', env: limits });
    await connect(t, open, { cookie: accountCookie(TOKEN) });
    const second = await connect(t, open, { cookie: accountCookie(TOKEN) });
    assert.deepEqual(await second.ask('subscribe', { subject: 't', queue: 'q' }), { status: 'added' });
    // One without the token, and one that is one too many.
    for (const cookie of [undefined, accountCookie(TOKEN)]) {
      const other = await connect(t, open, { cookie });
      assert.ok(other.info.user.error);
      assert.equal((await other.ask('subscribe', { subject: 't', queue: 'q' })).code, 403);
      assert.equal((await other.publish('t', null)).code, 403);
    }
  });

  test('where no token is needed a page of another origin may not connect', async (t) => {
    const trusting = await startServer(t, { policy: 'lite' });
    for (const origin of ['https://evil.example', 'http://127.0.0.1:1', 'null']) {
      await assert.rejects(connectRaw(t, trusting, { headers: { origin } }), undefined, origin);
    }
    const own = await connectRaw(t, trusting, { headers: { origin: `http://${trusting.host}` } });
    assert.deepEqual(own.info.user, { account_id: ACCOUNT });
  });

  test('wire_030 total and hub limits are settings of their own', async (t) => {
    const limits = {
      OUTPOST_MAX_CONNECTIONS_PER_USER: '2',
      OUTPOST_MAX_CONNECTIONS_PER_HUB: '3',
      OUTPOST_MAX_CONNECTIONS: '4',
    };
    const small = await startServer(t, { policy: 'lite', env: { OUTPOST_SYSTEM_PASSWORD: 'pw', ...limits } });
    const outcome = async (cookie) => (await connectRaw(t, small, { cookie })).info.user.code ?? 'in';
    assert.deepEqual([await outcome(), await outcome(), await outcome()], ['in', 'in', 429]);
    assert.deepEqual([await outcome('sys=pw'), await outcome('sys=pw'), await outcome('sys=pw')], ['in', 'in', 429]);
  });
});
