// 100 publishers into one socket.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connectRaw } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';
import { Witness } from '../support/witness.mjs';

const PUBLISHERS = 100;
const MESSAGES = 200;
/** Publishes of one publisher that are under way at a time. */
const WINDOW = 20;

describe('publishers', () => {
  test('100 publishers into one socket: nothing lost, nothing interleaved, each in order', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const subscriber = await connectRaw(t, server);
    await subscriber.subscribe('many.*');
    const publishers = await Promise.all(Array.from({ length: PUBLISHERS }, () => connectRaw(t, server)));
    const next = new Array(PUBLISHERS).fill(0);
    for (let first = 0; first < MESSAGES; first += WINDOW) {
      const acknowledged = publishers.flatMap((peer, who) =>
        Array.from({ length: WINDOW }, (_, offset) => publish(peer, who, first + offset)),
      );
      // In step with the subscriber, which shares a process with all of them and would fall behind otherwise.
      for (const { args } of await subscriber.packets.take(PUBLISHERS * WINDOW)) {
        const { subject, data } = args[0];
        const [id, , , , raw, headers] = data;
        const [who, number] = id.split('/').map(Number);
        assert.equal(subject, `many.${who}`);
        assert.equal(number, next[who]++, `publisher ${who} lost a message or changed its order`);
        assert.equal(raw.toString().replace(/\.+$/, ''), id);
        if (headers) assert.equal(headers.mark.toString(), id);
      }
      for (const { count } of await Promise.all(acknowledged)) assert.equal(count, 1);
    }
    assert.deepEqual(subscriber.violations, []);
    assert.deepEqual(new Set(next), new Set([MESSAGES]));
    await witness.assertServed();
  });
});

function publish(peer, who, number) {
  const id = `${who}/${number}`;
  // Sizes around those at which frame headers and segments change.
  const payload = Buffer.from(id.padEnd([10, 125, 126, 1_400, 4_096][number % 5], '.'));
  const headers = number % 3 ? undefined : { mark: Buffer.from(id) };
  return peer.publishAcked(`many.${who}`, payload, { id, headers });
}
