// conat-persist.md §20, storage: numbers, keys, limits, expiry, as a client sees them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { content, openStream, operation } from '../../support/persist.mjs';
import { startServer } from '../../support/server.mjs';
import { quiet, until } from '../../support/wait.mjs';

describe('storage', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer(undefined, { services: 'persist', env: { OUTPOST_STREAM_GRACE: '50ms' } });
  });
  after(() => server?.stop());

  const open = async (t, path, options) => openStream(await connect(t, server), path, options);
  const seqs = async (stream) => (await stream.getAll()).messages.map(({ seq }) => seq);
  const fill = (stream, count) => stream.setMany(Array.from({ length: count }, (_, i) => operation(i + 1)));
  /** Lets `ms` of the server's clock pass: the store has no timers, so nothing can happen meanwhile. */
  const later = (ms) => quiet(ms + 20);

  test('persist_071 numbers are never used twice and have no gaps', async (t) => {
    const stream = await open(t, 't071');
    await fill(stream, 3);
    await stream.delete({ all: true });
    assert.equal((await stream.set('x')).seq, 4);
    await stream.delete({ seq: 4 });
    await assert.rejects(stream.set('x', { key: 'k', previousSeq: 1 }));
    await stream.close();
    await later(100);
    const again = await open(t, 't071');
    assert.deepEqual(await again.inventory(), { bytes: 0, count: 0, seq: 0, limits: {} });
    assert.equal((await again.set('x')).seq, 5);
  });

  test('persist_072 a key has one message, and rewriting moves it to the end', async (t) => {
    const stream = await open(t, 't072');
    await stream.set(1, { key: 'a' });
    await stream.set(2, { key: 'b' });
    assert.equal((await stream.set(3, { key: 'a' })).seq, 3);
    assert.deepEqual(await seqs(stream), [2, 3]);
    assert.equal(await stream.get({ seq: 1 }), undefined);
    assert.equal((await stream.get({ key: 'a' })).headers.seq, 3);
    assert.equal((await stream.inventory()).count, 2);
  });

  test('persist_073 compare and set', async (t) => {
    const stream = await open(t, 't073');
    const wrong = { code: 'wrong-last-sequence', message: /wrong last sequence/ };
    await assert.rejects(stream.set(0, { key: 'k', previousSeq: 0 }), wrong);
    await assert.rejects(stream.set(0, { key: 'k', previousSeq: 1 }), wrong);
    await stream.set(1, { key: 'k' });
    for (const previousSeq of [0, 2, -1, 1.5, 1e300])
      await assert.rejects(stream.set(0, { key: 'k', previousSeq }), wrong);
    assert.equal((await stream.set(2, { key: 'k', previousSeq: 1 })).seq, 2);
    assert.equal((await stream.set(3, { key: 'k', previousSeq: null })).seq, 3);
    assert.equal((await stream.set(4, { previousSeq: 99 })).seq, 4);
    await stream.set(null, { key: 'k', headers: { 'CN-Tombstone': true } });
    assert.equal((await stream.set(6, { key: 'k', previousSeq: 5 })).seq, 6);
  });

  test('persist_074 a message id that was seen gives the first result', async (t) => {
    const [one, two] = [await open(t, 't074'), await open(t, 't074', { dialect: 'B' })];
    const first = await one.set('x', { msgID: 'a' });
    assert.deepEqual(await two.set('y', { msgID: 'a', key: 'k', previousSeq: 7 }), first);
    assert.deepEqual(await one.setMany([operation('z', { msgID: 'a' })]), [first]);
    assert.deepEqual(await one.contents(), ['x']);
    // What failed is not remembered.
    await assert.rejects(one.set('x', { msgID: 'b', key: 'k', previousSeq: 7 }));
    assert.equal((await one.set('x', { msgID: 'b' })).seq, 2);
  });

  test('persist_075 persist_076 a time to live counts when it is allowed, to the millisecond', async (t) => {
    const stream = await open(t, 't075');
    await stream.set('short', { key: 'a', ttl: 300 });
    await stream.set('long', { key: 'b', ttl: 600_000 });
    assert.equal((await stream.get({ key: 'a' })).value, 'short');
    await later(350);
    assert.equal((await stream.get({ key: 'a' })).value, 'short');
    assert.equal((await stream.inventory()).count, 2);
    const config = await stream.config({ allow_msg_ttl: true });
    assert.equal(config.allow_msg_ttl, true);
    assert.equal(await stream.get({ key: 'a' }), undefined);
    assert.deepEqual(await stream.contents(), ['long']);
    const { time } = await stream.set('timed', { key: 'c', ttl: 400 });
    while (Date.now() < time + 390) {
      const asked = Date.now();
      const hit = await stream.get({ key: 'c' });
      // An answer that was given before the time has to be a hit.
      if (Date.now() < time + 400) assert.equal(hit?.value, 'timed', `after ${asked - time} ms`);
    }
    await until(() => Date.now() >= time + 400, 'end of life');
    assert.equal(await stream.get({ key: 'c' }), undefined);
    assert.equal(await stream.get({ seq: 3 }), undefined);
    await stream.set('next');
    assert.deepEqual(await stream.contents(), ['long', 'next']);
  });

  test('persist_077 at max_msgs the oldest goes', async (t) => {
    const stream = await open(t, 't077', { changefeed: true });
    await stream.config({ max_msgs: 3 });
    for (let n = 1; n <= 4; n++) await stream.set(n);
    assert.deepEqual(await seqs(stream), [2, 3, 4]);
    assert.deepEqual(await stream.event(({ op }) => op === 'delete'), { op: 'delete', seqs: [1] });
  });

  test('persist_078 max_msgs 0 keeps the most recent write', async (t) => {
    const stream = await open(t, 't078');
    await stream.config({ max_msgs: 0 });
    for (let n = 1; n <= 3; n++) {
      await stream.set(n);
      assert.deepEqual(await stream.contents(), [n]);
    }
    await stream.config();
    assert.deepEqual(await stream.contents(), []);
  });

  test('persist_079 overwriting a key at capacity', async (t) => {
    const stream = await open(t, 't079');
    await stream.config({ max_msgs: 2 });
    await stream.set('a', { key: 'a' });
    await stream.set('b', { key: 'b' });
    await stream.set('b2', { key: 'b' });
    assert.deepEqual(await stream.contents(), ['b2']);
    await stream.set('c');
    await stream.config({ discard_policy: 'new' });
    await assert.rejects(stream.set('b3', { key: 'b' }), { code: 'reject', message: /max_msgs limit reached/ });
    assert.deepEqual(await stream.contents(), ['b2', 'c']);
  });

  test('persist_080 max_age is enforced by writes and config, not before', async (t) => {
    const stream = await open(t, 't080');
    await stream.config({ max_age: 200 });
    // At once, or the second would be the first one's end on a slow machine.
    await stream.setMany([operation('a'), operation('b')]);
    await later(250);
    assert.deepEqual(await stream.contents(), ['a', 'b']);
    await stream.set('c');
    assert.deepEqual(await stream.contents(), ['c']);
    await later(250);
    await stream.config({});
    assert.deepEqual(await stream.contents(), []);
  });

  test('persist_081 max_bytes makes room, and what is too large stays alone for a while', async (t) => {
    const stream = await open(t, 't081', { changefeed: true });
    await stream.config({ max_bytes: 100 });
    for (let n = 1; n <= 3; n++) await stream.set('x'.repeat(29));
    assert.equal((await stream.inventory()).bytes, 90);
    await stream.set('x'.repeat(29));
    assert.deepEqual(await seqs(stream), [2, 3, 4]);
    await stream.set('x'.repeat(200));
    assert.deepEqual(await seqs(stream), [5]);
    await stream.config();
    assert.deepEqual(await seqs(stream), []);
    const told = [];
    while (told.length < 3) told.push((await stream.event(({ op }) => op)).seqs);
    assert.deepEqual(told, [[1], [2, 3, 4], [5]]);
  });

  test('persist_082 with policy new writes are rejected and nothing is deleted', async (t) => {
    const stream = await open(t, 't082');
    await fill(stream, 3);
    await stream.config({ discard_policy: 'new', max_msgs: 2, max_bytes: 2 });
    assert.deepEqual(await seqs(stream), [1, 2, 3]);
    await assert.rejects(stream.set('x'), { code: 'reject', message: /max_msgs limit reached/ });
    await stream.config({ max_msgs: 10 });
    await assert.rejects(stream.set('x'), { code: 'reject', message: /max_bytes limit reached/ });
    await assert.rejects(stream.set('x'.repeat(100)), { code: 'reject' });
    assert.deepEqual(await seqs(stream), [1, 2, 3]);
    await stream.config({ max_bytes: 100 });
    assert.equal((await stream.set('x')).seq, 4);
  });

  test('persist_083 max_msg_size', async (t) => {
    const stream = await open(t, 't083');
    await stream.config({ max_msg_size: 10 });
    await stream.set('x'.repeat(9));
    await assert.rejects(stream.set('x'.repeat(10)), {
      code: 'reject',
      message: 'Error: max_msg_size of 10 bytes exceeded',
    });
    await assert.rejects(stream.set('x', { key: 'k'.repeat(9) }), { code: 'reject' });
    assert.equal((await stream.set('x', { key: 'k'.repeat(8) })).seq, 2);
  });

  test('persist_084 max_msgs_per_second 3 lets four through at once', async (t) => {
    const stream = await open(t, 't084');
    await stream.config({ max_msgs_per_second: 3 });
    const results = await stream.setMany([1, 2, 3, 4, 5].map((n) => operation(n)));
    assert.deepEqual(
      results.map(({ seq, code }) => seq ?? code),
      [1, 2, 3, 4, 'reject'],
    );
    assert.match(results[4].error, /max_msgs_per_second exceeded/);
  });

  test('persist_085 max_bytes_per_second counts what is stored already', async (t) => {
    const stream = await open(t, 't085');
    await stream.config({ max_bytes_per_second: 100 });
    const results = await stream.setMany([97, 200, 1].map((length) => operation('x'.repeat(length))));
    assert.deepEqual(
      results.map(({ seq, code }) => seq ?? code),
      [1, 2, 'reject'],
    );
    assert.match(results[2].error, /max_bytes_per_second exceeded/);
  });

  test('persist_086 limits are enforced when a stream is opened', async (t) => {
    const stream = await open(t, 't086');
    await stream.config({ max_age: 150 });
    await fill(stream, 3);
    await stream.close();
    await until(async () => {
      await later(200);
      const again = await open(t, 't086');
      const { count } = await again.inventory();
      await again.close();
      return count === 0;
    }, 'enforcement by opening');
  });

  test('persist_087 a stream in memory is lost with its last socket, and bounded', async (t) => {
    const stream = await open(t, 't087', { ephemeral: true });
    assert.equal((await stream.config()).max_bytes, 64_000_000);
    assert.equal((await stream.config({ max_bytes: 100_000_000 })).max_bytes, 64_000_000);
    assert.equal((await stream.config({ max_bytes: 1000 })).max_bytes, 1000);
    assert.deepEqual((await stream.inventory()).limits, { max_bytes: 1000 });
    assert.equal((await stream.set('x')).seq, 1);
    assert.equal((await stream.set('y', { key: 'k' })).seq, 2);
    assert.deepEqual(await stream.contents(), ['x', 'y']);
    await stream.close();
    await until(async () => {
      await later(200);
      const again = await open(t, 't087', { ephemeral: true });
      const { count } = await again.inventory();
      if (count === 0) assert.equal((await again.set('z')).seq, 1);
      await again.close();
      return count === 0;
    }, 'end of the stream');
  });

  test('persist_088 a stream stays as it was opened until it is released', async (t) => {
    const first = await open(t, 't088', { ephemeral: true });
    const second = await open(t, 't088', { ephemeral: false, changefeed: true });
    await first.set('x');
    assert.equal(content(await second.event()), 'x');
    assert.equal((await second.config()).max_bytes, 64_000_000);
    await first.close();
    assert.deepEqual(await second.contents(), ['x']);
  });
});
