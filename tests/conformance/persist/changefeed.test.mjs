// conat-persist.md §20, changefeeds: every change, once, in order.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { DIALECTS, content, openStream, operation } from '../../support/persist.mjs';
import { startServer } from '../../support/server.mjs';
import { SOON, within } from '../../support/wait.mjs';

describe('changefeeds', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer(undefined, { services: 'persist' });
  });
  after(() => server?.stop());

  const open = async (t, path, options) => openStream(await connect(t, server), path, options);
  const armed = async (t, path, options) => {
    const stream = await open(t, path, options);
    await stream.changefeed();
    return stream;
  };
  /** Events up to the set of a marker, without it: what came after everything before it. */
  const upToNow = async (stream, writer = stream) => {
    const { seq } = await writer.set('marker');
    const events = [];
    for (;;) {
      const event = await stream.event();
      if (event.seq === seq) return events;
      events.push(event);
    }
  };

  for (const dialect of DIALECTS) {
    test(`persist_060 a writer hears of its own writes (dialect ${dialect})`, async (t) => {
      const stream = await armed(t, `t060-${dialect}`, { dialect });
      const { seq, time } = await stream.set('x', { key: 'k', headers: { h: 1 } });
      const { raw, ...event } = await stream.event();
      assert.deepEqual(event, { seq, time, key: 'k', encoding: 0, headers: { h: 1 } });
      assert.equal(content({ raw }), 'x');
    });

    test(`persist_061 sets come in order, each once, to every socket (dialect ${dialect})`, async (t) => {
      const path = `t061-${dialect}`;
      const readers = await Promise.all([armed(t, path, { dialect }), armed(t, path, { dialect }), armed(t, path)]);
      const writers = await Promise.all([open(t, path), open(t, path, { dialect })]);
      await Promise.all(Array.from({ length: 300 }, (_, n) => writers[n % 2].set(n)));
      for (const reader of readers) {
        const events = await reader.events.take(300, { what: 'event' });
        assert.deepEqual(
          events.map(({ seq }) => seq),
          Array.from({ length: 300 }, (_, i) => i + 1),
        );
        assert.deepEqual(reader.events.items, []);
        assert.deepEqual(
          reader.frames.items.map(({ headers }) => headers.seq),
          reader.frames.items.map((_, i) => i),
        );
      }
    });
  }

  test('persist_062 replacing a key is one set', async (t) => {
    const stream = await armed(t, 't062');
    await stream.set(1, { key: 'k' });
    await stream.set(2, { key: 'k' });
    const events = await upToNow(stream);
    assert.deepEqual(
      events.map(({ op, seq, key }) => [op, seq, key]),
      [
        [undefined, 1, 'k'],
        [undefined, 2, 'k'],
      ],
    );
  });

  test('persist_063 every delete is one event, empty ones too', async (t) => {
    const [writer, stream] = [await open(t, 't063'), await armed(t, 't063')];
    await writer.setMany([1, 2, 3, 4, 5].map((n) => operation(n)));
    await writer.delete({ seq: 1 });
    await writer.delete({ seq: 1 });
    await writer.delete({});
    await writer.delete({ seqs: [2, 99] });
    await writer.delete({ last_seq: 3 });
    await writer.delete({ all: true });
    const events = (await upToNow(stream, writer)).filter(({ op }) => op);
    const expected = [[1], [], [], [2, 99], [3], [4, 5]];
    assert.deepEqual(
      events,
      expected.map((seqs) => ({ op: 'delete', seqs })),
    );
  });

  test('persist_064 what limits remove is told before the write that did it', async (t) => {
    const stream = await armed(t, 't064');
    await stream.config({ max_msgs: 2 });
    for (let n = 1; n <= 4; n++) await stream.set(n);
    const events = await upToNow(stream);
    assert.deepEqual(
      events.map(({ op, seq, seqs }) => (op ? seqs : seq)),
      [1, 2, [1], 3, [2], 4, [3]],
    );
  });

  test('persist_065 what is rejected is not told and takes no number', async (t) => {
    const stream = await armed(t, 't065');
    await stream.config({ max_msg_size: 10 });
    assert.equal((await stream.set('a', { key: 'k' })).seq, 1);
    await assert.rejects(stream.set('x'.repeat(20)), { code: 'reject' });
    await assert.rejects(stream.set('b', { key: 'k', previousSeq: 9 }), { code: 'wrong-last-sequence' });
    assert.equal((await stream.set('c')).seq, 2);
    const events = await upToNow(stream);
    assert.deepEqual(
      events.map(({ seq }) => seq),
      [1, 2],
    );
  });

  test('persist_066 the message id comes back in the event, and only there', async (t) => {
    const stream = await armed(t, 't066');
    await stream.set('x', { msgID: 'some id' });
    assert.equal((await stream.event()).msgID, 'some id');
    assert.equal((await stream.getAll()).messages[0].msgID, undefined);
  });

  test('persist_067 a burst comes in few frames, and the first event at once', async (t) => {
    const [writer, stream] = [await open(t, 't067'), await armed(t, 't067')];
    await Promise.all(Array.from({ length: 1000 }, (_, n) => writer.set(n)));
    await stream.events.take(1000, { what: 'event' });
    const frames = stream.frames.drain();
    assert.ok(frames.length <= 100, `${frames.length} frames`);
    // Of a quiet stream: nothing else can have been collected with it.
    await writer.set('alone');
    const alone = await stream.frames.next();
    assert.equal(alone.events.length, 1);
    assert.equal(alone.headers.seq, frames.length);
  });

  test('persist_068 who did not arm the feed gets no frames', async (t) => {
    const [writer, quiet, stream] = [await open(t, 't068'), await open(t, 't068'), await armed(t, 't068')];
    await writer.set('x');
    await stream.event();
    await quiet.inventory();
    assert.deepEqual([writer.frames.items, quiet.frames.items], [[], []]);
  });

  test('persist_069 nothing is lost between a snapshot and the feed that was armed before', async (t) => {
    const writer = await open(t, 't069');
    let writing = true;
    const written = (async () => {
      let last = 0;
      while (writing) last = (await writer.set(last)).seq;
      return last;
    })();
    const readers = [];
    for (let round = 0; round < 10; round++) {
      const reader = await armed(t, 't069', { dialect: DIALECTS[round % 2] });
      readers.push([reader, (await reader.getAll()).messages.map(({ seq }) => seq)]);
    }
    writing = false;
    const last = await written;
    for (const [reader, seen] of readers) {
      const known = new Set(seen);
      while (!known.has(last)) known.add((await reader.event()).seq);
      assert.equal(known.size, last);
      assert.deepEqual(
        seen,
        seen.map((_, i) => i + 1),
      );
    }
  });

  test(
    'persist_070 a reader that does not acknowledge is closed, and no writer fails',
    { timeout: 120_000 },
    async (t) => {
      const [writer, slow, good] = [await open(t, 't070'), await armed(t, 't070'), await armed(t, 't070')];
      await writer.config({ max_msgs: 3 });
      slow.acknowledges = false;
      const value = new Uint8Array(4_000_000);
      let closed = false;
      slow.closed.then(() => (closed = true));
      let written = 0;
      while (!closed && written < 100) {
        await writer.set(value);
        written += 1;
        await good.event(({ op }) => op === undefined);
      }
      await within(SOON, slow.closed, 'close of the slow reader');
      assert.ok(written > 3, 'it had something to buffer');
      assert.equal((await writer.set('last')).seq, written + 1);
      assert.equal(content(await good.event(({ op }) => op === undefined)), 'last');
      assert.equal(await server.metric('outpost_persist_slow_readers'), 1);
      // It finds everything that is still there when it comes back.
      const again = await armed(t, 't070');
      assert.equal((await again.getAll({ start_seq: written })).messages.at(-1).seq, written + 1);
    },
  );
});
