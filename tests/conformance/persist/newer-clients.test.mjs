// conat-persist.md §20, revision B: what newer clients use besides the rest.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { DIALECTS, content, openStream, operation } from '../../support/persist.mjs';
import { startServer } from '../../support/server.mjs';
import { quiet } from '../../support/wait.mjs';

describe('newer clients of streams', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer(undefined, { services: 'persist' });
  });
  after(() => server?.stop());

  const open = async (t, path, options) => openStream(await connect(t, server), path, { dialect: 'B', ...options });
  const fill = (stream, count) => stream.setMany(Array.from({ length: count }, (_, i) => operation(i + 1)));
  const ask = async (stream, cmd, parameters, value) => (await stream.ask(cmd, parameters, value)).value;

  test('persist_121 getAll arms the feed before its snapshot', async (t) => {
    const [writer, reader] = [await open(t, 't121-feed'), await open(t, 't121-feed')];
    await writer.set('before');
    let writing = true;
    const written = (async () => {
      let last;
      do last = (await writer.set('during')).seq;
      while (writing);
      return last;
    })();
    const known = new Set((await reader.getAll({ changefeed: true })).messages.map(({ seq }) => seq));
    writing = false;
    const last = await written;
    while (!known.has(last)) known.add((await reader.event()).seq);
    assert.equal(known.size, last);
  });

  test('persist_121 the first frame, and no other, tells what was asked for', async (t) => {
    const stream = await open(t, 't121');
    await fill(stream, 3);
    await ask(stream, 'setMetadata', {}, { a: 1 });
    const checkpoint = await ask(stream, 'setCheckpoint', {}, { name: 'cp', seq: 2, data: { patchId: 'p' } });
    const all = { includeConfig: true, includeMetadata: true, includeCheckpoints: true };
    const { first, frames } = await stream.getAll({ start_seq: 2, ...all });
    assert.deepEqual(first, {
      seq: 0,
      config: await stream.config(),
      metadata: { a: 1 },
      checkpoints: { cp: checkpoint },
      effective_start_seq: 2,
      oldest_retained_seq: 1,
      newest_retained_seq: 3,
    });
    assert.deepEqual(frames.at(-1).headers, { seq: 1 });
    const plain = await stream.getAll();
    const bounds = { effective_start_seq: 1, oldest_retained_seq: 1, newest_retained_seq: 3 };
    assert.deepEqual(plain.first, { seq: 0, ...bounds });
    await stream.delete({ last_seq: 2 });
    assert.deepEqual((await stream.getAll({ start_seq: 1 })).first, {
      seq: 0,
      effective_start_seq: 3,
      oldest_retained_seq: 3,
      newest_retained_seq: 3,
    });
  });

  test('persist_121 of an empty stream', async (t) => {
    const stream = await open(t, 't121-empty');
    const all = { includeConfig: true, includeMetadata: true, includeCheckpoints: true };
    const config = await stream.config();
    const { first, frames } = await stream.getAll({ start_seq: 5, ...all });
    assert.deepEqual(first, { seq: 0, config, checkpoints: {}, effective_start_seq: 5 });
    assert.equal(frames.length, 1);
    assert.deepEqual((await stream.getAll()).first, { seq: 0 });
  });

  test('persist_122 of checkpoint and start the larger counts', async (t) => {
    const stream = await open(t, 't122');
    await fill(stream, 6);
    await ask(stream, 'setCheckpoint', {}, { name: 'cp', seq: 4 });
    const from = async (parameters) => {
      const { first, messages } = await stream.getAll(parameters);
      assert.equal(first.effective_start_seq, messages[0].seq);
      return messages[0].seq;
    };
    assert.equal(await from({ start_checkpoint: 'cp' }), 4);
    assert.equal(await from({ start_checkpoint: 'cp', start_seq: 2 }), 4);
    assert.equal(await from({ start_checkpoint: 'cp', start_seq: 5 }), 5);
    assert.equal(await from({ start_checkpoint: 'unknown', start_seq: 2 }), 2);
    assert.equal(await from({ start_checkpoint: 'unknown' }), 1);
  });

  test('persist_123 metadata are set, merged, cleared and told', async (t) => {
    const [writer, stream] = [await open(t, 't123'), await open(t, 't123', { changefeed: true })];
    assert.equal(await ask(stream, 'metadata'), null);
    const steps = [
      ['setMetadata', { a: 1, b: { c: 2 } }, { a: 1, b: { c: 2 } }],
      ['patchMetadata', { b: { d: 3 }, e: null }, { a: 1, b: { d: 3 }, e: null }],
      ['patchMetadata', [1, 2], [1, 2]],
      ['patchMetadata', { x: 1 }, { x: 1 }],
      ['setMetadata', 'text', 'text'],
      ['setMetadata', null, null],
      ['patchMetadata', { y: 1.5 }, { y: 1.5 }],
    ];
    for (const [cmd, value, expected] of steps) {
      assert.deepEqual(await ask(writer, cmd, {}, value), expected, cmd);
      assert.deepEqual(await ask(writer, 'metadata'), expected);
      assert.deepEqual(await stream.event(), { op: 'metadata', metadata: expected });
    }
    await writer.delete({ all: true });
    assert.deepEqual(await ask(stream, 'metadata'), { y: 1.5 });
  });

  test('persist_124 checkpoints are set, told, and go with their message', async (t) => {
    const [writer, stream] = [await open(t, 't124'), await open(t, 't124', { changefeed: true })];
    await fill(writer, 5);
    await stream.events.take(5);
    assert.deepEqual(await ask(writer, 'checkpoints'), {});
    await assert.rejects(writer.ask('setCheckpoint', {}, { name: 'a' }), {
      message: 'Error: setCheckpoint requires seq',
    });
    const before = Date.now();
    const a = await ask(writer, 'setCheckpoint', {}, { name: 'a', seq: 1 });
    assert.deepEqual(Object.keys(a).sort(), ['seq', 'time']);
    assert.ok(a.seq === 1 && a.time >= before && a.time <= Date.now());
    assert.deepEqual(await stream.event(), { op: 'checkpoints', checkpoints: { a } });
    const b = await ask(writer, 'setCheckpoint', {}, { name: 'b', seq: 2, time: 77, data: { x: [1] } });
    assert.deepEqual(b, { seq: 2, time: 77, data: { x: [1] } });
    assert.deepEqual((await stream.event()).checkpoints, { a, b });
    assert.equal(await ask(writer, 'deleteCheckpoint', { name: 'a' }), null);
    assert.deepEqual((await stream.event()).checkpoints, { b });
    assert.equal(await ask(writer, 'deleteCheckpoint', { name: 'unknown' }), null);
    await writer.delete({ seq: 2 });
    assert.deepEqual(await ask(writer, 'checkpoints'), {});
    await ask(writer, 'setCheckpoint', {}, { name: 'c', seq: 99 });
    await writer.delete({ all: true });
    assert.deepEqual(await ask(writer, 'checkpoints'), {});
  });

  test('persist_124 a checkpoint may be written with a message', async (t) => {
    const stream = await open(t, 't124-with');
    const first = await stream.set('x', { checkpoint: { name: 'a' } });
    assert.deepEqual(await ask(stream, 'checkpoints'), { a: first });
    const [second] = await stream.setMany([operation('y', { checkpoint: { name: 'b', data: { p: 1 } } })]);
    await stream.set('z', { checkpoint: { name: 'c', seq: 1, time: 5 } });
    assert.deepEqual(await ask(stream, 'checkpoints'), {
      a: first,
      b: { ...second, data: { p: 1 } },
      c: { seq: 1, time: 5 },
    });
    // Replacing a keyed message is no deletion.
    const keyed = await stream.set(1, { key: 'k', checkpoint: { name: 'k' } });
    await stream.set(2, { key: 'k' });
    assert.equal((await ask(stream, 'checkpoints')).k.seq, keyed.seq);
    await stream.config({ max_msgs: 1 });
    assert.deepEqual(Object.keys(await ask(stream, 'checkpoints')), ['k']);
  });

  test('persist_125 required headers', async (t) => {
    const stream = await open(t, 't125');
    await stream.config({ required_headers: { history_epoch: 3, tag: 'x' } });
    const mismatch = { code: 'reject', message: /required header mismatch for '(history_epoch|tag)'/ };
    for (const headers of [
      undefined,
      {},
      { history_epoch: 3 },
      { history_epoch: '3', tag: 'x' },
      { history_epoch: 4, tag: 'x' },
    ]) {
      await assert.rejects(stream.set('x', { headers }), mismatch);
    }
    assert.equal((await stream.set('x', { headers: { history_epoch: 3, tag: 'x', more: 1 } })).seq, 1);
    assert.deepEqual((await stream.config({ required_headers: null })).required_headers, {
      history_epoch: 3,
      tag: 'x',
    });
    assert.deepEqual((await stream.config({ required_headers: {} })).required_headers, {});
    assert.equal((await stream.set('x')).seq, 2);
  });

  test('persist_126 a rejected set changes nothing', async (t) => {
    const stream = await open(t, 't126', { changefeed: true });
    await stream.config({ max_msgs: 2, max_msg_size: 10 });
    await fill(stream, 2);
    await assert.rejects(stream.set('x'.repeat(50)), { code: 'reject' });
    assert.deepEqual(await stream.contents(), [1, 2]);
    await stream.set('y');
    const events = await stream.events.take(4);
    assert.deepEqual(
      events.map(({ op, seq, seqs }) => (op ? seqs : seq)),
      [1, 2, [1], 3],
    );
  });

  test('persist_127 control events carry neither a number nor a deletion', async (t) => {
    const [writer, older] = [await open(t, 't127'), await open(t, 't127', { dialect: 'A', changefeed: true })];
    await writer.set('x');
    await ask(writer, 'setMetadata', {}, { a: 1 });
    await ask(writer, 'setCheckpoint', {}, { name: 'c', seq: 1 });
    await writer.set('y');
    const events = await older.events.take(4);
    for (const event of events.filter(({ op }) => op !== undefined)) {
      assert.notEqual(event.op, 'delete');
      assert.deepEqual([event.seq, event.seqs], [undefined, undefined]);
    }
    assert.deepEqual(events.filter(({ op }) => op === undefined).map(content), ['x', 'y']);
  });

  for (const dialect of DIALECTS) {
    test(`persist_128 a stream in memory outlives a short disconnect (dialect ${dialect})`, async (t) => {
      const path = `t128-${dialect}`;
      const first = await connect(t, server);
      const stream = await openStream(first, path, { ephemeral: true, dialect });
      await stream.set('x');
      first.close();
      await quiet(300);
      const again = await open(t, path, { ephemeral: true, dialect });
      assert.deepEqual(await again.contents(), ['x']);
      assert.equal((await again.set('y')).seq, 2);
    });
  }
});
