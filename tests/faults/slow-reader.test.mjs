// A peer that stops reading: its queue is bounded, it is cut off, and nobody else notices.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connectRaw } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';
import { until, within } from '../support/wait.mjs';
import { Witness } from '../support/witness.mjs';

const MIB = 1024 * 1024;

/** How far memory may stay above what it was: allocators keep some of what they got. */
const RSS_SLACK = 48 * MIB;

describe('slow reader', () => {
  test('a reader that stops is cut off, the others get everything, memory comes back', async (t) => {
    // Nothing but the bound of the outbox may cut them off here.
    const env = { OUTPOST_OUTBOX_BYTES: String(4 * MIB), OUTPOST_WRITE_TIMEOUT: '120s' };
    const server = await startServer(t, { env });
    const witness = await Witness.of(t, server);
    const publisher = await connectRaw(t, server);
    const readers = await Promise.all(Array.from({ length: 3 }, () => connectRaw(t, server)));
    for (const reader of readers) await reader.subscribe('flood');
    let published = 0;
    const flood = async (mebibytes) => {
      for (let round = 0; round < mebibytes; round++) {
        await round16(publisher, 64 * 1024, () => String(published++));
        // In step with the readers, so that only somebody who does not read at all can fall behind.
        for (const reader of readers) {
          for (const { args } of await reader.packets.take(16)) {
            assert.equal(args[0].data[0], String(reader.expected ?? 0), 'a frame is missing or out of order');
            reader.expected = (reader.expected ?? 0) + 1;
          }
          reader.wire.drain();
        }
      }
    };
    await flood(32);
    const usual = await server.rss();
    const slowReaders = await server.metric('outpost_broker_slow_readers');

    const stopped = await Promise.all(Array.from({ length: 5 }, () => connectRaw(t, server)));
    for (const peer of stopped) {
      await peer.subscribe('flood');
      peer.pause();
    }
    // As quick as without them: whoever waits for them does not finish this.
    await within(30_000, flood(64), 'flood to the readers that do read');
    const others = async () => (await publisher.publishAcked('flood', [])).count === readers.length;
    await until(others, 'all of them cut off');
    await slowReadersAre(server, slowReaders + stopped.length);
    await until(async () => (await server.rss()) < usual + RSS_SLACK, `memory back at ${usual} bytes`);
    for (const peer of stopped) {
      peer.resume();
      await until(() => !peer.isOpen, 'close at the peer that stopped');
      assert.deepEqual(peer.violations, []);
    }
    await witness.assertServed();
  });

  test('many small messages to somebody who does not read are bounded too', async (t) => {
    const server = await startServer(t, { env: { OUTPOST_OUTBOX_MESSAGES: '1000', OUTPOST_WRITE_TIMEOUT: '120s' } });
    const witness = await Witness.of(t, server);
    const publisher = await connectRaw(t, server);
    const stopped = await connectRaw(t, server);
    await stopped.subscribe('flood');
    stopped.pause();
    // What the kernel holds for the connection comes on top of the bound: a few thousand of these.
    for (let round = 0; round < 4_000; round++) {
      if ((await round16(publisher, 2_048)) === 0) break;
    }
    assert.equal((await publisher.publishAcked('flood', [])).count, 0);
    await slowReadersAre(server, 1);
    await witness.assertServed();
  });

  test('a write that makes no progress ends the connection though the queue has room', async (t) => {
    const server = await startServer(t, { env: { OUTPOST_WRITE_TIMEOUT: '1s' } });
    const witness = await Witness.of(t, server);
    const publisher = await connectRaw(t, server);
    const stopped = await connectRaw(t, server);
    await stopped.subscribe('flood');
    stopped.pause();
    // More than kernels keep for a connection, less than the outbox holds.
    for (let round = 0; round < 24; round++) await round16(publisher, 64 * 1024);
    await until(async () => (await publisher.publishAcked('flood', [])).count === 0, 'the stuck connection gone');
    await slowReadersAre(server, 1);
    await witness.assertServed();
  });

  test('a reader that stops does not hold up its own publishes', async (t) => {
    const server = await startServer(t, { env: { OUTPOST_OUTBOX_BYTES: String(4 * MIB) } });
    const witness = await Witness.of(t, server);
    const subscriber = await connectRaw(t, server);
    await subscriber.subscribe('from-stopped');
    const stopped = await connectRaw(t, server);
    stopped.pause();
    for (let number = 0; number < 100; number++) stopped.publish('from-stopped', [], { id: String(number) });
    const received = await subscriber.packets.take(100);
    received.forEach(({ args }, number) => assert.equal(args[0].data[0], String(number)));
    await witness.assertServed();
  });
});

const slowReadersAre = (server, expected) =>
  until(
    async () => (await server.metric('outpost_broker_slow_readers')) === expected,
    `${expected} slow readers in the metrics`,
  );

/** Sixteen publishes of `size` bytes to `flood`; gives the smallest count that was acknowledged. */
async function round16(publisher, size, nextId = () => 'id00000001') {
  const payload = Buffer.alloc(size);
  const acknowledged = Array.from({ length: 16 }, () => publisher.publishAcked('flood', payload, { id: nextId() }));
  const counts = (await Promise.all(acknowledged)).map(({ count }) => count);
  publisher.wire.drain();
  return Math.min(...counts);
}
