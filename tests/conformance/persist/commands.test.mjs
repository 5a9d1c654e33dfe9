// conat-persist.md §20, commands: what is answered to what.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { DIALECTS, content, openStream, operation } from '../../support/persist.mjs';
import { startServer } from '../../support/server.mjs';

const DEFAULTS = {
  max_msgs: -1,
  max_age: 0,
  max_bytes: -1,
  max_msg_size: -1,
  max_bytes_per_second: -1,
  max_msgs_per_second: -1,
  discard_policy: 'old',
  allow_msg_ttl: false,
  required_headers: null,
  desc: null,
};

describe('commands', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer(undefined, { services: 'persist' });
  });
  after(() => server?.stop());

  const open = async (t, path, options) => openStream(await connect(t, server), path, options);
  const fill = (stream, count, options = () => ({})) =>
    stream.setMany(Array.from({ length: count }, (_, i) => operation(i + 1, options(i + 1))));
  const seqs = ({ messages }) => messages.map(({ seq }) => seq);

  for (const dialect of DIALECTS) {
    test(`persist_037 set answers seq and time, from 1 on (dialect ${dialect})`, async (t) => {
      const stream = await open(t, `t037-${dialect}`, { dialect });
      const before = Date.now();
      for (let seq = 1; seq <= 3; seq++) {
        const answer = await stream.set('x');
        assert.deepEqual(Object.keys(answer), ['time', 'seq']);
        assert.equal(answer.seq, seq);
        assert.ok(answer.time >= before && answer.time <= Date.now());
      }
    });
  }

  test('persist_038 the empty string is a key', async (t) => {
    const stream = await open(t, 't038');
    await stream.set('a', { key: '' });
    await stream.set('b', { key: '' });
    const hit = await stream.get({ key: '' });
    assert.deepEqual([hit.value, hit.headers.key, hit.headers.seq], ['b', '', 2]);
    assert.deepEqual(await stream.contents(), ['b']);
    assert.deepEqual(await stream.keys(), ['']);
  });

  test('persist_039 persist_040 setMany answers in order, and failures stay where they are', async (t) => {
    const stream = await open(t, 't039');
    await stream.set('old', { key: 'k' });
    const results = await stream.setMany([
      operation('a', { key: 'a' }),
      operation('b', { key: 'k', previousSeq: 999 }),
      operation('c', { headers: { x: 1 } }),
      { messageData: { encoding: 0 } },
      operation('d', { key: 7 }),
      operation('e'),
      null,
    ]);
    assert.deepEqual(
      results.map(({ seq, error }) => seq ?? Boolean(error)),
      [2, true, 3, true, true, 4, true],
    );
    assert.deepEqual(results[1], { error: 'Error: wrong last sequence', code: 'wrong-last-sequence' });
    assert.deepEqual(Object.keys(results[3]), ['error']);
    assert.match(results[3].error, /^Error: /);
    assert.deepEqual(await stream.contents(), ['old', 'a', 'c', 'e']);
    assert.deepEqual(await stream.setMany([]), []);
    await assert.rejects(stream.setMany({ no: 'array' }), /^Error: Error: /);
  });

  test('persist_041 get by number and by key; the number wins', async (t) => {
    const stream = await open(t, 't041');
    await stream.set('first');
    await stream.set('second', { key: 'k' });
    assert.equal((await stream.get({ seq: 1 })).value, 'first');
    assert.equal((await stream.get({ key: 'k' })).value, 'second');
    assert.equal((await stream.get({ seq: 1, key: 'k' })).value, 'first');
    assert.equal((await stream.get({ seq: 0, key: 'k' })).value, 'second');
    assert.equal(await stream.get({ seq: 99, key: 'k' }), undefined);
  });

  test('persist_042 a hit has the headers of the user, and those of the store win', async (t) => {
    const stream = await open(t, 't042');
    const headers = { foo: 'bar', n: { deep: [1, null] }, seq: 'mine', time: 'mine', key: 'mine', error: 'mine' };
    const { time } = await stream.set('x', { key: 'k', headers });
    const hit = await stream.get({ key: 'k' });
    assert.deepEqual(hit.headers, { ...headers, seq: 1, time, key: 'k' });
    assert.deepEqual((await stream.getAll()).messages[0].headers, headers);
  });

  test('persist_043 persist_044 frames are counted, and an empty range is one final frame', async (t) => {
    const stream = await open(t, 't043');
    const numbers = async (parameters) => (await stream.getAll(parameters)).frames.map(({ headers }) => headers.seq);
    assert.deepEqual(await numbers(), [0]);
    await fill(stream, 5);
    assert.deepEqual(await numbers(), [0, 1]);
    for (const empty of [{ start_seq: 6 }, { start_seq: 4, end_seq: 3 }, { end_seq: 0 }, { start_seq: 1e300 }]) {
      assert.deepEqual(await numbers(empty), [0], JSON.stringify(empty));
    }
  });

  test('persist_045 bounds are inclusive, the order is that of the numbers', async (t) => {
    const stream = await open(t, 't045');
    await fill(stream, 9, (n) => ({ key: `k${n % 7}` }));
    assert.deepEqual(seqs(await stream.getAll()), [3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual(seqs(await stream.getAll({ start_seq: 4, end_seq: 6 })), [4, 5, 6]);
    assert.deepEqual(seqs(await stream.getAll({ start_seq: 0, end_seq: 3 })), [3]);
    assert.deepEqual(seqs(await stream.getAll({ start_seq: 9, timeout: 15000 })), [9]);
    assert.deepEqual(seqs(await stream.getAll({ end_seq: 1e300 })).length, 7);
  });

  test('persist_046 a large result comes in several frames, a large message alone', async (t) => {
    const stream = await open(t, 't046');
    const sizes = [300, 3_000_000, 200, 700_000, 700_000, 700_000, 24_000_000, 10];
    for (const size of sizes) await stream.set(new Uint8Array(size).fill(size % 251));
    const { messages, frames } = await stream.getAll();
    assert.deepEqual(
      messages.map((message) => content(message).length),
      sizes,
    );
    assert.ok(frames.length >= 3);
    for (const { bytes, count } of frames) assert.ok(bytes <= 20_000_000 || count === 1, `${count} in ${bytes}`);
  });

  test('persist_046 many small messages come in order over several frames', async (t) => {
    const stream = await open(t, 't046-many');
    const raw = new Uint8Array(400);
    for (let i = 0; i < 20; i++) {
      await stream.setMany(Array.from({ length: 500 }, () => operation(undefined, { raw })));
    }
    const all = await stream.getAll();
    assert.ok(all.frames.length > 3);
    assert.deepEqual(
      seqs(all),
      Array.from({ length: 10_000 }, (_, i) => i + 1),
    );
  });

  test('persist_046 a client that asks for much at once gets all of it', { timeout: 120_000 }, async (t) => {
    const client = await connect(t, server);
    const open = () => openStream(client, 't046-at-once');
    const streams = await Promise.all(Array.from({ length: 50 }, open));
    // More, together, than the server keeps for a connection.
    for (let i = 0; i < 3; i++) await streams[0].set(new Uint8Array(1_000_000).fill(i));
    const all = await Promise.all(streams.map((stream) => stream.getAll()));
    for (const { messages } of all) {
      assert.deepEqual(
        messages.map((message) => content(message)[7]),
        [0, 1, 2],
      );
    }
    assert.ok(client.socket.connected);
  });

  test('persist_047 a getAll that fails says so in a frame', async (t) => {
    const stream = await open(t, 't047');
    const answer = await (await stream.send('getAll', { start_seq: 'x' })).next();
    assert.equal(Buffer.from(answer.raw).toString('hex'), 'c0');
    assert.equal(answer.headers.seq, 0);
    assert.match(answer.headers.error, /^Error: /);
  });

  test('persist_048 delete has selectors with a precedence', async (t) => {
    const stream = await open(t, 't048');
    await fill(stream, 10);
    assert.deepEqual(await stream.delete({}), { seqs: [] });
    assert.deepEqual(await stream.delete({ all: false, last_seq: 0, seq: 0 }), { seqs: [] });
    assert.deepEqual(await stream.delete({ seq: 5, seqs: [6, 7] }), { seqs: [5] });
    assert.deepEqual(await stream.delete({ seqs: [6, 7] }), { seqs: [6, 7] });
    assert.deepEqual(await stream.delete({ last_seq: 2, seq: 9 }), { seqs: [1, 2] });
    assert.deepEqual(seqs(await stream.getAll()), [3, 4, 8, 9, 10]);
    assert.deepEqual(await stream.delete({ all: true, last_seq: 3 }), { seqs: [3, 4, 8, 9, 10] });
    assert.deepEqual(await stream.delete({ all: true }), { seqs: [] });
  });

  test('persist_049 unknown numbers are echoed in lists and not alone', async (t) => {
    const stream = await open(t, 't049');
    await fill(stream, 3);
    assert.deepEqual(await stream.delete({ seqs: [99, 2, 98] }), { seqs: [99, 2, 98] });
    assert.deepEqual(await stream.delete({ seq: 99 }), { seqs: [] });
    assert.deepEqual(await stream.delete({ last_seq: 99 }), { seqs: [1, 3] });
  });

  test('persist_048 a list longer than any limit of the database is deleted', async (t) => {
    const stream = await open(t, 't048-long');
    await fill(stream, 3);
    const list = Array.from({ length: 40_000 }, (_, i) => i + 2);
    assert.equal((await stream.delete({ seqs: list })).seqs.length, 40_000);
    assert.deepEqual(seqs(await stream.getAll()), [1]);
  });

  test('persist_050 keys has tombstones and leaves out what has no key', async (t) => {
    const stream = await open(t, 't050');
    assert.deepEqual(await stream.keys(), []);
    await stream.set(1, { key: 'b' });
    await stream.set(2);
    await stream.set(3, { key: 'a' });
    await stream.set(null, { key: 'b', headers: { 'CN-Tombstone': true } });
    assert.deepEqual((await stream.keys()).sort(), ['a', 'b']);
  });

  test('persist_051 config answers every field', async (t) => {
    const stream = await open(t, 't051');
    assert.deepEqual(await stream.config(), DEFAULTS);
    assert.deepEqual(await stream.config({}), DEFAULTS);
    assert.deepEqual((await stream.ask('config', { config: null })).value, DEFAULTS);
  });

  test('persist_052 config ignores what it does not know and reads leniently', async (t) => {
    const stream = await open(t, 't052');
    const set = { max_msgs: 7.9, max_bytes: null, unknown: 1, discard_policy: 'whatever', allow_msg_ttl: true };
    const expected = { ...DEFAULTS, max_msgs: 7, allow_msg_ttl: true, desc: { a: [1] } };
    assert.deepEqual(await stream.config({ ...set, desc: { a: [1] } }), expected);
    assert.equal((await stream.config({ discard_policy: 'new' })).discard_policy, 'new');
    assert.equal((await stream.config({ discard_policy: 'x' })).discard_policy, 'old');
    assert.deepEqual(await stream.config({ desc: null }), expected);
    await assert.rejects(stream.ask('config', { config: 'x' }), /Error: /);
  });

  test('persist_054 the inventory of an empty stream, and of one with limits', async (t) => {
    const stream = await open(t, 't054');
    assert.deepEqual(await stream.inventory(), { bytes: 0, count: 0, seq: 0, limits: {} });
    await stream.config({ max_msgs: 5, max_age: 0, desc: 'x' });
    await fill(stream, 2);
    const { limits, count, seq } = await stream.inventory();
    assert.deepEqual([limits, count, seq], [{ max_msgs: 5, desc: 'x' }, 2, 2]);
    await stream.delete({ seq: 2 });
    assert.equal((await stream.inventory()).seq, 1);
  });

  test('persist_055 persist_056 sizes are counted as the specification says', async (t) => {
    const stream = await open(t, 't055');
    await stream.set(5, { key: 'a' });
    const size = async () => {
      const { bytes, count, seq } = await stream.inventory();
      return [bytes, count, seq];
    };
    assert.deepEqual(await size(), [2, 1, 1]);
    await stream.set(null, { key: 'a', headers: { 'CN-Tombstone': true } });
    assert.deepEqual(await size(), [23, 1, 2]);
    await stream.delete({ all: true });
    await stream.set(5, { key: 'é€😀' });
    assert.deepEqual(await size(), [1 + 4, 1, 3]);
    // {"h":"é€😀"}
    await stream.set(5, { headers: { h: 'é€😀' } });
    assert.deepEqual(await size(), [5 + 1 + 12, 2, 4]);
  });

  test('persist_057 changefeed answers created, however often', async (t) => {
    const stream = await open(t, 't057');
    for (let n = 0; n < 3; n++) {
      const answer = await (await stream.send('changefeed')).next();
      assert.equal(Buffer.from(answer.raw).toString('hex'), 'a763726561746564');
    }
    await stream.set('x');
    await stream.event();
    await stream.set('y');
    assert.equal(content(await stream.event()), 'y');
    assert.deepEqual(stream.events.items, []);
  });

  test('persist_058 serverId answers, sqlite is refused', async (t) => {
    const stream = await open(t, 't058');
    assert.equal((await stream.ask('serverId')).value, '0');
    const answer = await (await stream.send('sqlite', { statement: 'select 1' })).next();
    assert.deepEqual(answer.headers, { error: 'Error: sqlite command not currently supported' });
  });

  test('persist_059 an unknown command is answered with 404', async (t) => {
    const stream = await open(t, 't059');
    const answer = await (await stream.send('bogus')).next();
    assert.deepEqual(answer.headers, { error: 'unknown command bogus', code: 404 });
    assert.equal(Buffer.from(answer.raw).toString('hex'), 'c0');
    await assert.rejects(stream.ask(undefined), { code: 404 });
  });
});
