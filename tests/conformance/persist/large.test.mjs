// conat-persist.md §20: large messages. In a file of its own, since encoding them keeps the process of the test from all else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { content, openStream } from '../../support/persist.mjs';
import { startServer } from '../../support/server.mjs';

const MINUTES = 180_000;

test('persist_030 persist_046 a message of 100 MB passes whole', { timeout: MINUTES }, async (t) => {
  const server = await startServer(t, { services: 'persist' });
  const client = await connect(t, server);
  const stream = await openStream(client, 't030-large', { changefeed: true });
  const value = Buffer.alloc(100_000_000);
  for (let i = 0; i < value.length; i += 1000) value[i] = i / 1000;
  const same = (received) => assert.ok(value.equals(received), 'the bytes are the same');
  const { seq } = await stream.set(value, { key: 'large' });
  await stream.set('small');
  same(content(await stream.event(() => true, MINUTES)));
  assert.equal(content(await stream.event()), 'small');
  same((await stream.get({ seq })).value);
  const { messages, frames } = await stream.getAll();
  same(content(messages[0]));
  assert.equal(content(messages[1]), 'small');
  assert.equal(frames.length, 3);
  assert.ok(client.socket.connected);
});
