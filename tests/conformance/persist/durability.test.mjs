// conat-persist.md §20, durability: what was acknowledged is there after a crash.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { content, openStream, operation } from '../../support/persist.mjs';
import { startServer } from '../../support/server.mjs';

for (const durability of ['full', 'normal']) {
  test(`persist_089 acknowledged writes survive a crash (durability ${durability})`, async (t) => {
    const env = { OUTPOST_DURABILITY: durability };
    const server = await startServer(t, { services: 'persist', env });
    const client = await connect(t, server);
    const streams = await Promise.all(['a', 'b', 'c'].map((path) => openStream(client, path)));
    const acknowledged = streams.map(() => []);
    let ended = false;
    const writers = streams.map(async (stream, index) => {
      for (let n = 0; !ended; n++) {
        const many = await stream.setMany([operation(2 * n, { key: `${n % 50}` }), operation(2 * n + 1)]);
        acknowledged[index].push([many[1].seq, 2 * n + 1]);
        if (acknowledged.every((list) => list.length > 50) && !ended) {
          ended = true;
          await server.kill('SIGKILL');
        }
      }
    });
    await Promise.allSettled(writers);
    await server.restart();
    const again = await connect(t, server);
    for (const [index, path] of ['a', 'b', 'c'].entries()) {
      const stream = await openStream(again, path);
      const { messages } = await stream.getAll();
      const found = new Map(messages.map((message) => [message.seq, content(message)]));
      for (const [seq, value] of acknowledged[index]) assert.equal(found.get(seq), value, `${path} ${seq}`);
      // Numbers go on where they stopped, whatever was written and not acknowledged.
      const { seq } = await stream.set('next');
      assert.ok(seq > Math.max(...found.keys()));
    }
  });
}

test('persist_053 persist_071 configuration and numbers survive a restart', async (t) => {
  const server = await startServer(t, { services: 'persist' });
  const stream = await openStream(await connect(t, server), 't053');
  const config = await stream.config({ max_msgs: 5, allow_msg_ttl: true, desc: { text: 'ü' }, discard_policy: 'new' });
  await stream.setMany([operation(1, { key: 'a', headers: { h: 1 } }), operation(2), operation(3)]);
  await stream.ask('setMetadata', {}, { a: 1 });
  await stream.ask('setCheckpoint', {}, { name: 'c', seq: 2, data: 'd' });
  await stream.delete({ seq: 3 });
  const before = (await stream.getAll()).messages;
  const checkpoints = (await stream.ask('checkpoints')).value;
  await server.kill('SIGTERM');
  await server.restart();
  const again = await openStream(await connect(t, server), 't053');
  assert.deepEqual((await again.getAll()).messages, before);
  assert.deepEqual(await again.config(), config);
  assert.deepEqual((await again.ask('metadata')).value, { a: 1 });
  assert.deepEqual((await again.ask('checkpoints')).value, checkpoints);
  assert.equal((await again.set('x')).seq, 4);
});

test('persist_053 configuration survives the end of the last socket', async (t) => {
  const server = await startServer(t, { services: 'persist', env: { OUTPOST_STREAM_GRACE: '1ms' } });
  const client = await connect(t, server);
  for (let round = 1; round <= 5; round++) {
    const stream = await openStream(client, 't053');
    const { max_msgs } = await stream.config();
    assert.equal(max_msgs, round === 1 ? -1 : round - 1);
    await stream.config({ max_msgs: round });
    await stream.close();
  }
});
