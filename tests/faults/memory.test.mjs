// Whatever a client invents, remembering it must be bounded: caches of subjects, of policy answers, of chunked messages,
// of waits and of acknowledgements that nobody asked for.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connectRaw } from '../support/raw.mjs';
import { ACCOUNT, startServer } from '../support/server.mjs';
import { Witness } from '../support/witness.mjs';

const ROUNDS = 20_000;
/** ROUNDS names of 1 000 bytes are 20 MB, in one table; a table that keeps them all does not stay below this. */
const RSS_GROWTH = 16 * 1024 * 1024;
const LONG = 'x'.repeat(1_000);
const RAW = Buffer.from([0xc0]);

describe('memory', { concurrency: true }, () => {
  const inventions = {
    'subjects that are allowed': (peer, name) => peer.publish(`t.account-${ACCOUNT}.${name}`, RAW),
    'subjects that are refused': (peer, name) => peer.publish(`forbidden.${name}`, RAW),
    'messages that never end': (peer, name) => peer.publish(`t.account-${ACCOUNT}.chunks`, RAW, { id: name, done: 0 }),
    'subscriptions that end': (peer, name) => {
      const subject = `t.account-${ACCOUNT}.${name}`;
      peer.emit('subscribe', { subject, queue: name });
      peer.emit('unsubscribe', { subject });
      peer.emit('rpc-service', { subject, queue: name });
      peer.emit('rpc-service-close', { subject });
    },
    'waits that end': (peer, name) =>
      peer.emitWithId('wait-for-interest', { subject: `t.account-${ACCOUNT}.${name}`, timeout: 1 }),
    'calls of nobody': (peer, name) =>
      peer.emit('rpc-raw', { requestId: name, subject: `t.account-${ACCOUNT}.x`, encoding: 0, raw: RAW }),
    'answers to nothing': (peer, name) => {
      peer.emit('rpc-raw-response', { requestId: name, encoding: 0, raw: RAW });
      peer.acknowledge(1_000_000, name);
    },
  };
  for (const [what, invent] of Object.entries(inventions)) {
    test(`${what}: nothing of them stays`, async (t) => {
      const server = await startServer(t, { policy: 'lite' });
      const witness = await Witness.of(t, server, { subject: `w.account-${ACCOUNT}` });
      // Two members, so that the server has a choice to remember.
      for (let member = 0; member < 2; member++) {
        const peer = await connectRaw(t, server);
        await peer.subscribe(`t.account-${ACCOUNT}.chunks`, 'group');
        peer.ignoreFromNowOn();
      }
      const peer = await connectRaw(t, server);
      const spree = async (rounds) => {
        for (let round = 0; round < rounds; round++) {
          invent(peer, `${LONG}${spree.total++}`);
          if (round % 1_000 === 999) {
            await peer.ask('subscriptions', null);
            peer.wire.drain();
            peer.packets.drain();
          }
        }
      };
      spree.total = 0;
      await spree(ROUNDS / 5);
      const usual = await server.rss();
      await spree(ROUNDS);
      const grown = (await server.rss()) - usual;
      assert.ok(grown < RSS_GROWTH, `memory grew by ${grown} bytes`);
      await witness.assertServed();
    });
  }
});
