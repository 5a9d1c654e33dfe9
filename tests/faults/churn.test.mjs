// 10 000 connections opened and dropped: none of them may leave anything behind.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connectRaw } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';
import { until } from '../support/wait.mjs';
import { Witness } from '../support/witness.mjs';

const CONNECTIONS = 10_000;
/** Open at once: bounded, because this process and the server have a descriptor for each. */
const BATCH = 500;
/** What 8 000 connections after the first 2 000 may cost; a kilobyte leaked per connection would be 8 MiB. */
const RSS_GROWTH = 16 * 1024 * 1024;

describe('churn', () => {
  test(`${CONNECTIONS} connections opened and dropped leave nothing behind`, async (t) => {
    const env = { OUTPOST_MAX_CONNECTIONS_PER_USER: '20000', OUTPOST_MAX_CONNECTIONS: '20000' };
    const server = await startServer(t, { env });
    const witness = await Witness.of(t, server);
    const connections = () => server.metric('outpost_broker_connections');
    const subscriptions = () => server.metric('outpost_broker_subscriptions');
    const before = {
      connections: await connections(),
      subscriptions: await subscriptions(),
      descriptors: await server.descriptors(),
    };
    const settled = async () => {
      await until(async () => (await connections()) === before.connections, 'connections gone', 30_000);
      await until(async () => (await subscriptions()) === before.subscriptions, 'subscriptions gone', 30_000);
      // The request that asks for the metrics has a descriptor itself.
      await until(async () => (await server.descriptors()) <= before.descriptors + 2, 'descriptors closed', 30_000);
    };
    let warm;
    for (let opened = 0; opened < CONNECTIONS; opened += BATCH) {
      if (opened === 2_000) {
        await settled();
        warm = await server.rss();
      }
      await batch(server);
    }
    await settled();
    const grown = (await server.rss()) - warm;
    assert.ok(grown < RSS_GROWTH, `memory grew by ${grown} bytes`);
    await witness.assertServed();
  });
});

/** Opens connections, gives each something to leave behind, and drops them in all the ways there are. */
async function batch(server) {
  const endings = [
    (peer) => peer.close(),
    (peer) => peer.terminate(),
    (peer) => {
      peer.send('41');
      peer.close();
    },
    (peer) => peer.send('not a packet'),
  ];
  const peers = await Promise.all(Array.from({ length: BATCH }, () => connectRaw(undefined, server)));
  for (const [number, peer] of peers.entries()) {
    peer.emit('subscribe', [
      { subject: `churn.${number}.*`, queue: 'q' },
      { subject: 'churn.>', queue: 'shared' },
    ]);
    peer.emit('rpc-service', { subject: `churn.${number}`, queue: '0' });
    peer.emitWithId('wait-for-interest', { subject: `never.${number}`, timeout: 90_000 });
  }
  await Promise.all(peers.map((peer) => peer.ask('subscriptions', null)));
  peers.forEach((peer, number) => endings[number % endings.length](peer));
  await Promise.all(peers.map((peer) => peer.closed));
}
