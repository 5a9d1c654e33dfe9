// conat-persist.md §20, sessions: from the open message to the end of a socket.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { DIALECTS, Stream, answerOf, content, openStream } from '../../support/persist.mjs';
import { startServer } from '../../support/server.mjs';
import { SOON, quiet, until, within } from '../../support/wait.mjs';

const settings = { services: 'persist', env: { OUTPOST_STREAM_GRACE: '50ms' } };

describe('sessions', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer(undefined, settings);
  });
  after(() => server?.stop());

  for (const dialect of DIALECTS) {
    test(`persist_009 the first data message opens, without an answer (dialect ${dialect})`, async (t) => {
      const client = await connect(t, server);
      const stream = await openStream(client, `t009-${dialect}`, { dialect });
      assert.deepEqual(await stream.set('x').then(({ seq }) => seq), 1);
      // Only the first opens.
      stream.open('t009-elsewhere');
      assert.deepEqual(await stream.contents(), ['x']);
      assert.deepEqual([stream.failures.items, stream.frames.items], [[], []]);
      // The open message is acknowledged.
      assert.ok(stream.commands.items.some(({ command }) => command === 'socket'));
      await stream.close();
    });

    test(`persist_010 requests before the open are carried out after it, in order (dialect ${dialect})`, async (t) => {
      const client = await connect(t, server);
      const stream = await new Stream(client, { dialect }).connect();
      const early = await Promise.all([
        stream.send('set', { key: 'a' }, 1),
        stream.send('setMany', {}, []),
        stream.send('set', { key: 'b' }, 2),
        stream.send('inventory'),
      ]);
      stream.open(`t010-${dialect}`);
      const [first, many, second, inventory] = await Promise.all(early.map((answers) => answerOf(answers, 'request')));
      assert.deepEqual([first.value.seq, many.value, second.value.seq], [1, [], 2]);
      assert.equal(inventory.value.count, 2);
    });

    test(`persist_011 a request that waits too long is answered with 408 (dialect ${dialect})`, async (t) => {
      const client = await connect(t, server);
      const stream = await new Stream(client, { dialect }).connect();
      const patient = await stream.send('inventory', { timeout: 20_000 });
      const sent = performance.now();
      await assert.rejects(stream.ask('inventory', { timeout: 150 }), {
        code: 408,
        message: 'Error: once: timeout of 150ms waiting for "stream-initialized"',
      });
      assert.ok(performance.now() - sent >= 145);
      stream.open(`t011-${dialect}`);
      assert.equal((await answerOf(patient, 'inventory')).value.count, 0);
    });

    test(`persist_012 persist_013 a failed open is told once and sticks (dialect ${dialect})`, async (t) => {
      const client = await connect(t, server);
      const stream = await new Stream(client, { dialect }).connect();
      const early = await stream.send('inventory');
      stream.open('../t012');
      const headers = await stream.failures.next({ what: 'open error' });
      assert.deepEqual(headers, {
        error: "Error: permission denied: path '../t012' is not normalized",
        code: 403,
        'CN-SocketSeq': 1,
      });
      const again = { code: 403, message: `Error: ${headers.error}` };
      // Who waited is not left waiting.
      await assert.rejects(answerOf(early, 'inventory'), again);
      for (const cmd of ['set', 'getAll', 'bogus', 'changefeed']) await assert.rejects(stream.ask(cmd), again, cmd);
      stream.open('t012');
      await assert.rejects(stream.inventory(), again);
      assert.deepEqual(stream.failures.items, []);
      await stream.close();
    });

    test(`persist_015 the open message may arm the feed (dialect ${dialect})`, async (t) => {
      const client = await connect(t, server);
      const writer = await openStream(client, `t015-${dialect}`, { dialect });
      const reader = await openStream(client, `t015-${dialect}`, { dialect, changefeed: true });
      await reader.inventory();
      const { seq } = await writer.set('x');
      assert.equal((await reader.event()).seq, seq);
      assert.deepEqual(writer.frames.items, []);
    });

    test(`persist_021 client pings are answered (dialect ${dialect})`, async (t) => {
      const client = await connect(t, server);
      const stream = await openStream(client, `t021-${dialect}`, { dialect });
      for (let n = 0; n < 3; n++) assert.equal((await stream.ping()).value, null);
      const { value } = await client.request(stream.serverSubject, null, { headers: { 'CN-SocketCmd': 'bogus' } });
      assert.match(value.error, /unknown command/);
      assert.deepEqual(stream.failures.items, []);
    });
  }

  test('persist_014 what the open message says beside the path is ignored', async (t) => {
    const client = await connect(t, server);
    const odd = { archive: '/tmp/x', backup: 7, archiveInterval: 1, noCache: true, compression: { algorithm: 9 } };
    const first = await openStream(client, 't014', { ...odd, ephemeral: null, more: { deep: [1] } });
    await first.set('x');
    const second = await openStream(client, 't014', { noCache: true, sync: true });
    await second.changefeed();
    const { seq } = await first.set('y');
    assert.equal((await second.event()).seq, seq);
    assert.deepEqual(await second.contents(), ['x', 'y']);
  });

  test('persist_009 an open message that names nothing fails', async (t) => {
    const client = await connect(t, server);
    for (const message of [null, 7, {}, { storage: {} }, { storage: { path: 7 } }, { storage: 'x' }]) {
      const stream = await new Stream(client).connect();
      stream.write(message);
      assert.match((await stream.failures.next()).error, /^Error: /);
      await stream.close();
    }
  });

  test('persist_016 requests of one socket are carried out in order of arrival', async (t) => {
    const client = await connect(t, server);
    const stream = await openStream(client, 't016');
    const asked = [];
    for (let n = 0; n < 50; n++) {
      asked.push(stream.ask('set', { key: 'k' }, n), stream.ask('get', { key: 'k' }), stream.inventory());
    }
    const answers = await Promise.all(asked);
    for (let n = 0; n < 50; n++) {
      const [set, get, inventory] = answers.slice(3 * n, 3 * n + 3);
      assert.deepEqual([set.value.seq, get.value, get.headers.seq, inventory.seq], [n + 1, n, n + 1, n + 1]);
    }
  });

  test('persist_017 two sockets share data, feed and message ids', async (t) => {
    const [one, two] = [await connect(t, server), await connect(t, server)];
    const a = await openStream(one, 't017', { dialect: 'A' });
    const b = await openStream(two, 't017', { dialect: 'B', changefeed: true });
    await b.inventory();
    const first = await a.set('x', { msgID: 'm' });
    assert.deepEqual(await b.set('y', { msgID: 'm' }), first);
    assert.deepEqual(await b.contents(), ['x']);
    assert.equal(content(await b.event()), 'x');
  });

  test('persist_019 persist_020 a stream that is opened again has everything that was acknowledged', async (t) => {
    const client = await connect(t, server);
    for (let round = 1; round <= 20; round++) {
      const stream = await openStream(client, 't020', { dialect: DIALECTS[round % 2] });
      assert.equal((await stream.inventory()).count, round - 1);
      assert.equal((await stream.set(round)).seq, round);
      await stream.close();
    }
  });

  test('persist_022 each dialect gets its own answer to connect and never both', async (t) => {
    const client = await connect(t, server);
    const a = await new Stream(client, { dialect: 'A' }).connect();
    await a.ping();
    assert.deepEqual(
      a.commands.items.filter(({ command }) => command === 'connected'),
      [],
    );
    const b = new Stream(client, { dialect: 'B' });
    await client.subscribe(b.clientSubject, 'q', (message) => b.commands.push(message.headers));
    const connectFrame = (attempt) =>
      client.send(b.serverSubject, null, {
        headers: { 'CN-SocketCmd': 'connect', 'CN-SocketConnectAttempt': attempt, id: b.id },
      });
    for (const attempt of [1, 2, 7]) {
      connectFrame(attempt);
      const headers = await b.commands.next({ where: (h) => h['CN-SocketCmd'] === 'connected', what: 'connected' });
      assert.equal(headers['CN-SocketConnectAttempt'], attempt);
      assert.equal(headers['CN-Reply'], undefined);
    }
    assert.deepEqual(
      b.commands.items.filter((h) => h['CN-SocketCmd'] === 'connected'),
      [],
    );
  });
});

describe('quotas', () => {
  test('persist_018 the 501st open of a scope fails with 429 until another is closed', async (t) => {
    const server = await startServer(t, settings);
    const clients = await Promise.all([connect(t, server), connect(t, server)]);
    const open = (n) => openStream(clients[n % 2], `t018-${n % 10}`, { dialect: DIALECTS[n % 2] });
    const streams = [];
    for (let n = 0; n < 500; n += 50) {
      streams.push(...(await Promise.all(Array.from({ length: 50 }, (_, i) => open(n + i)))));
    }
    await Promise.all(streams.map((stream) => stream.inventory()));
    const refused = await open(500);
    const { error, code } = await refused.failures.next();
    assert.match(error, /^Error: There is a per user limit of 500 persistent storage\. /);
    assert.equal(code, 429);
    await assert.rejects(refused.inventory(), { code: 429 });
    // Another scope is not concerned.
    const project = '00000000-1000-4000-8000-000000000000';
    const other = await openStream(clients[0], `projects/${project}/x`, { scope: `project-${project}` });
    assert.equal((await other.inventory()).count, 0);
    await refused.close();
    await streams[7].close();
    const again = await open(500);
    assert.equal((await again.inventory()).count, 0);
    assert.equal(await server.metric('outpost_persist_open_sockets'), 501);
    assert.equal(await server.metric('outpost_persist_refused_opens'), 1);
  });

  test('persist_018 the limit for all scopes together', async (t) => {
    const server = await startServer(t, { ...settings, env: { OUTPOST_MAX_OPEN_STREAMS: '2' } });
    const client = await connect(t, server);
    const [a, b] = [await openStream(client, 'a'), await openStream(client, 'b')];
    await Promise.all([a.inventory(), b.inventory()]);
    const refused = await openStream(client, 'c');
    const { error, code } = await refused.failures.next();
    assert.match(error, /^Error: There is a global limit of 2 persistent storage\. /);
    assert.equal(code, 429);
  });

  test('persist_019 sockets are told when the server stops', async (t) => {
    const server = await startServer(t, settings);
    const client = await connect(t, server);
    const stream = await openStream(client, 't019');
    await stream.set('x');
    const gone = new Promise((resolve) => client.socket.once('disconnect', resolve));
    await server.kill('SIGTERM');
    await within(SOON, Promise.race([stream.closed, gone]), 'end of the socket');
    assert.doesNotMatch(server.stderr, /panicked|in time/);
  });

  test('persist_019 a connection that is lost ends its sockets', async (t) => {
    const server = await startServer(t, settings);
    const [one, two] = [await connect(t, server), await connect(t, server)];
    for (const dialect of DIALECTS) {
      const stream = await openStream(one, `t019-${dialect}`, { ephemeral: true, dialect });
      await stream.set('x');
    }
    one.close();
    // The server looks every ten seconds.
    const open = () => server.metric('outpost_persist_open_sockets');
    await until(async () => (await open()) === 0, 'end of the sockets', 2 * SOON);
    // The last socket takes the data of a stream in memory with it, after the grace period.
    await until(async () => {
      await quiet(200);
      const again = await openStream(two, 't019-A', { ephemeral: true });
      const { count } = await again.inventory();
      await again.close();
      return count === 0;
    }, 'end of the stream');
  });
});
