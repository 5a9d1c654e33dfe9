// conat-wire.md §26.11: service conventions across the bus, and the server's own services.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, methods } from '../../support/client.mjs';
import { systemCookie } from '../../support/cookies.mjs';
import { connectRaw } from '../../support/raw.mjs';
import { ACCOUNT, PROJECT, startServer } from '../../support/server.mjs';
import { quiet, until } from '../../support/wait.mjs';

const arithmetic = methods({ add: (a, b) => a + b, mul: (a, b) => a * b });

describe('services of clients', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.stop());

  test('wire_127 a method-array service answers results and unknown methods', async (t) => {
    const service = await connect(t, server);
    const caller = await connect(t, server);
    await service.serve('arith127.*', arithmetic);
    assert.deepEqual(await caller.request('arith127.one', ['add', [2, 3]]), { value: 5, headers: undefined });
    const { value, headers } = await caller.request('arith127.one', ['nope', []]);
    assert.equal(value, null);
    assert.match(headers.error, /not defined/);
  });

  test('wire_127 the service sees the concrete subject', async (t) => {
    const service = await connect(t, server);
    const caller = await connect(t, server);
    function who() {
      return this.subject;
    }
    await service.serve('who127.*', methods({ who }));
    assert.equal(await caller.call('who127.alice', 'who'), 'who127.alice');
  });

  test('wire_128 instances with queue 0 share calls, with queues of their own each answers', async (t) => {
    const [one, two, caller] = await Promise.all([1, 2, 3].map(() => connect(t, server)));
    for (const [name, service] of Object.entries({ one, two })) {
      const instance = methods({ name: () => name });
      await service.serve('shared128', instance, '0');
      await service.serve('each128', instance, `queue of ${name}`);
    }
    const shared = new Map();
    for (let round = 0; round < 100; round++) {
      const answers = await caller.requestMany('shared128', ['name', []]);
      await answers.next();
      assert.equal(answers.items.length, 0);
      const name = await caller.call('shared128', 'name');
      shared.set(name, 1 + (shared.get(name) ?? 0));
    }
    assert.deepEqual([...shared.keys()].sort(), ['one', 'two']);
    const answers = await caller.requestMany('each128', ['name', []]);
    await answers.take(2);
  });

  test('wire_129 a named-call service answers ping with pong', async (t) => {
    const [service, caller] = [await connect(t, server), await connect(t, server)];
    await service.serve('named129', named({}));
    assert.equal((await caller.request('named129', 'ping')).value, 'pong');
  });

  test('wire_130 a failing handler is reported in the body', async (t) => {
    const [service, caller] = [await connect(t, server), await connect(t, server)];
    const fail = () => {
      throw new Error('no such file');
    };
    await service.serve('named130', named({ fail, echo: (value) => value }));
    assert.deepEqual((await caller.request('named130', { name: 'fail', args: [] })).value, {
      error: 'Error: no such file',
    });
    assert.equal((await caller.request('named130', { name: 'echo', args: ['x'] })).value, 'x');
  });

  test('wire_131 a call issued before the service exists succeeds once it appears', async (t) => {
    const [service, caller] = [await connect(t, server), await connect(t, server)];
    await assert.rejects(caller.request('late131', 'ping'), { code: 503 });
    const waiting = caller.ask('wait-for-interest', { subject: 'late131', timeout: 10_000 }, 10_000);
    await service.serve('late131', named({}));
    assert.equal(await waiting, true);
    assert.equal((await caller.request('late131', 'ping')).value, 'pong');
  });
});

describe('services of the server', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer(undefined, {
      policy: 'lite',
      services: 'all',
      env: { OUTPOST_SYSTEM_PASSWORD: 'pw', OUTPOST_PROJECT_SECRET: 'secret' },
    });
  });
  after(() => server?.stop());

  const system = (t) => connect(t, server, { cookie: systemCookie('pw') });

  test('wire_127 the api of the server is such a service', async (t) => {
    const client = await connect(t, server);
    const subject = `outpost.account-${ACCOUNT}.api`;
    assert.equal(typeof (await client.call(subject, 'status')).uptime_ms, 'number');
    const { value, headers } = await client.request(subject, ['nope', []]);
    assert.equal(value, null);
    assert.match(headers.error, /not defined/);
  });

  test('wire_132 the time service gives the time', async (t) => {
    const client = await connect(t, server);
    const subject = `time.account-${ACCOUNT}.api`;
    // The fastest answer of several tells the clock best.
    let best = Infinity;
    for (let round = 0; round < 5; round++) {
      const earliest = Date.now();
      const { value } = await client.request(subject, { name: 'time', args: [] });
      const latest = Date.now();
      assert.equal(typeof value, 'number');
      best = Math.min(best, Math.max(earliest - value, value - latest, 0));
    }
    assert.ok(best <= 200, `off by ${best} ms`);
    const project = await connect(t, server, { cookie: `project_id=${PROJECT}; project_secret=secret` });
    const { value } = await project.request(`time.project-${PROJECT}.api`, { name: 'time', args: [] });
    assert.ok(Math.abs(value - Date.now()) < 60_000);
  });

  test('wire_133 the system services answer on both subjects', async (t) => {
    const hub = await system(t);
    const own = 'sys.conat.default.0';
    const all = 'sys.conat.default';
    for (const subject of [own, all]) {
      assert.deepEqual(Object.keys(await hub.call(subject, 'stats')), ['0']);
      assert.equal(typeof (await hub.call(subject, 'usage'))['0'].total, 'number');
    }
    const addresses = await hub.call(own, 'clusterAddresses');
    assert.deepEqual(addresses, await hub.ask('cluster'));
    await assert.rejects(hub.call(all, 'clusterAddresses'), /wrong service/);
    await assert.rejects(hub.call(own, 'nope'), /not defined/);
    // An account may not ask.
    assert.equal((await (await connect(t, server)).publish(own, ['stats', []])).code, 403);
  });

  test('wire_133 the subjects carry cluster name and server id', async (t) => {
    const env = { OUTPOST_SYSTEM_PASSWORD: 'pw', OUTPOST_CLUSTER_NAME: 'blue', OUTPOST_SERVER_ID: 'edge7' };
    const named = await startServer(t, { policy: 'lite', env });
    const hub = await connect(t, named, { cookie: systemCookie('pw') });
    assert.deepEqual(Object.keys(await hub.call('sys.conat.blue.edge7', 'stats')), ['edge7']);
    assert.deepEqual(Object.keys(await hub.call('sys.conat.blue', 'stats')), ['edge7']);
  });

  test('wire_134 stats describe each connection', async (t) => {
    const hub = await system(t);
    const client = await connect(t, server);
    const before = Date.now();
    const subject = `t134.account-${ACCOUNT}`;
    await client.subscribe(subject);
    await client.ask('publish', [subject, 'id00000001', 0, 1, 0, Buffer.alloc(10)]);
    await client.ask('publish', [subject, 'id00000002', 0, 0, 0, Buffer.alloc(7)]);
    client.socket.emit('stats', { recv0: { messages: 3, bytes: 17 } });
    await client.ask('subscriptions');
    const stats = (await hub.call('sys.conat.default.0', 'stats'))['0'][client.sid];
    assert.deepEqual(stats.user, { account_id: ACCOUNT });
    // The second frame was not the last of its message.
    assert.deepEqual(stats.send, { messages: 1, bytes: 17 });
    assert.deepEqual(stats.recv, { messages: 3, bytes: 17 });
    assert.equal(stats.subs, 1);
    assert.equal(stats.address, '127.0.0.1');
    for (const time of [stats.connected, stats.active]) assert.ok(Math.abs(time - before) < 60_000);
    assert.ok(stats.egress.messages > 0 && stats.egress.bytes > 0);
    client.close();
    await until(
      async () => !(await hub.call('sys.conat.default.0', 'stats'))['0'][client.sid ?? 'gone'],
      'the connection out of the statistics',
    );
  });

  test('wire_134 behind a proxy the address is that of the client', async (t) => {
    const hub = await system(t);
    const cases = [
      [{ 'x-forwarded-for': '203.0.113.7, 10.0.0.1' }, '203.0.113.7'],
      [{ forwarded: 'for="[2001:db8::1]:4711";proto=https, for=10.0.0.1' }, '2001:db8::1'],
      [{ 'fastly-client-ip': '198.51.100.9', 'x-forwarded-for': '203.0.113.7' }, '198.51.100.9'],
      [{ 'cf-connecting-ip': '198.51.100.2', 'fastly-client-ip': '198.51.100.9' }, '198.51.100.2'],
      [{ 'x-forwarded-for': '::ffff:192.0.2.1' }, '192.0.2.1'],
      [{ 'x-forwarded-for': 'nonsense' }, '127.0.0.1'],
    ];
    for (const [headers, address] of cases) {
      const peer = await connectRaw(t, server, { headers });
      const stats = (await hub.call('sys.conat.default.0', 'stats'))['0'][peer.sid];
      assert.equal(stats.address, address, JSON.stringify(headers));
    }
  });

  test('wire_134 malformed stats are ignored', async (t) => {
    const peer = await connectRaw(t, server);
    for (const argument of [null, 7, 'text', [], {}, { recv0: null }, { recv0: { messages: 'x', bytes: {} } }]) {
      peer.emit('stats', argument);
    }
    peer.emit('stats');
    peer.emit('stats', { recv0: { messages: -1, bytes: 1e300 } });
    assert.deepEqual(await peer.ask('subscriptions', null), [[]]);
  });

  test('wire_135 usage counts connections by user', async (t) => {
    const alone = await startServer(t, { policy: 'lite', env: { OUTPOST_SYSTEM_PASSWORD: 'pw' } });
    const hub = await connect(t, alone, { cookie: systemCookie('pw') });
    await Promise.all(Array.from({ length: 3 }, () => connect(t, alone)));
    const { total, perUser } = (await hub.call('sys.conat.default.0', 'usage'))['0'];
    assert.equal(perUser[JSON.stringify({ account_id: ACCOUNT })], 3);
    const hubs = perUser['{"hub_id":"system"}'];
    assert.ok(hubs >= 1);
    assert.equal(total, 3 + hubs);
    assert.equal(
      total,
      Object.values(perUser).reduce((sum, count) => sum + count, 0),
    );
  });

  test('wire_136 disconnect sends 41 to the named sockets and no others', async (t) => {
    const hub = await system(t);
    const peers = await Promise.all(Array.from({ length: 4 }, () => connectRaw(t, server)));
    const [first, second, third, spared] = peers;
    assert.equal(await hub.call('sys.conat.default.0', 'disconnect', first.sid), null);
    await hub.call('sys.conat.default', 'disconnect', [second.sid, third.sid, 'no-such-id']);
    for (const peer of [first, second, third]) {
      await peer.wire.next({ where: ({ text }) => text === '41', what: '41' });
    }
    assert.deepEqual(await spared.subscribe(`t136.account-${ACCOUNT}`), { status: 'added' });
  });

  test('wire_136 a stock client that is disconnected stays away', async (t) => {
    const hub = await system(t);
    const client = await connect(t, server, { reconnection: true });
    await client.subscribe(`t136b.account-${ACCOUNT}`);
    const reason = new Promise((resolve) => client.socket.once('disconnect', resolve));
    await hub.call('sys.conat.default.0', 'disconnect', client.sid);
    assert.equal(await reason, 'io server disconnect');
    await until(async () => (await hub.count(`t136b.account-${ACCOUNT}`)) === 0, 'its interest is gone');
    await quiet(1_000);
    assert.equal(client.socket.connected, false);
  });

  test('wire_137 cluster answers with the address of the server', async (t) => {
    const peer = await connectRaw(t, server);
    // The event has no argument at all.
    const [[address, ...others]] = await peer.ask('cluster');
    assert.match(address, new RegExp(`^http://[^/]+:${server.port}$`));
    assert.deepEqual(others, []);
    const moved = await startServer(t, { env: { OUTPOST_BASE_PATH: '/x' } });
    const [[movedAddress]] = await (await connectRaw(t, moved)).ask('cluster');
    assert.match(movedAddress, new RegExp(`^http://[^/]+:${moved.port}/x$`));
  });
});

/** A named-call service: health check, then a handler whose failure goes into the body. */
function named(table) {
  return async (body) => {
    if (body === 'ping') return { value: 'pong' };
    try {
      return { value: await table[body.name](...body.args) };
    } catch (error) {
      return { value: { error: String(error) } };
    }
  };
}
