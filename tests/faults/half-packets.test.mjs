// Peers that begin something and never end it.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connectRaw } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';
import { dialTcp, maskedFrame } from '../support/tcp.mjs';
import { until, within } from '../support/wait.mjs';
import { Witness } from '../support/witness.mjs';

/** Soon enough for a test, late enough for bystanders on a busy machine. */
const HASTY = {
  OUTPOST_PING_INTERVAL: '1s',
  OUTPOST_PING_TIMEOUT: '8s',
  OUTPOST_CONNECT_TIMEOUT: '8s',
  OUTPOST_HTTP_HEADER_TIMEOUT: '5s',
};

describe('half a packet then silence', { concurrency: true }, () => {
  test('half a WebSocket frame: the connection ends with the heartbeat and leaves nothing', async (t) => {
    const server = await startServer(t, { env: HASTY });
    const witness = await Witness.of(t, server);
    const descriptors = await server.descriptors();
    const halves = [
      Buffer.from([0x81]),
      Buffer.from([0x82, 0xff, 0, 0, 0, 0]),
      maskedFrame({ payload: Buffer.from('42["publ'), length: 5_000 }),
      maskedFrame({ opcode: 2, payload: Buffer.alloc(1_000), length: 7_999_999 }),
      maskedFrame({ fin: false, payload: Buffer.from('42["never"') }),
    ];
    const peers = [];
    for (const half of [...halves, ...halves, ...halves]) {
      const peer = await dialTcp(t, server);
      await peer.signIn(server);
      peer.sendText('420["subscribe",{"subject":"half","queue":"q"}]');
      await peer.text(/^430\[/);
      peer.send(half);
      peers.push(peer);
    }
    await witness.assertServed();
    for (const peer of peers) await within(30_000, peer.closed, 'close by the heartbeat');
    await until(async () => (await witness.client.count('half')) === 0, 'no subscription left');
    await until(async () => (await server.descriptors()) <= descriptors, 'descriptors closed');
    await witness.assertServed();
  });

  test('an attachment that never comes blocks its own connection only', async (t) => {
    const server = await startServer(t, { env: HASTY });
    const witness = await Witness.of(t, server);
    const peers = await Promise.all(Array.from({ length: 50 }, () => connectRaw(t, server)));
    for (const peer of peers) {
      await peer.subscribe('half');
      peer.send('451-["publish",["half","id00000001",0,1,0,{"_placeholder":true,"num":0}]]');
    }
    await witness.assertServed();
    // They can still be written to, between their own halves.
    assert.equal(await witness.client.count('half'), peers.length);
    for (const peer of peers) await peer.event('half');
    peers[0].send(Buffer.from([0xc0]));
    for (const peer of peers) await peer.event('half');
    peers.forEach((peer) => peer.terminate());
    await until(async () => (await witness.client.count('half')) === 0, 'no subscription left');
    await witness.assertServed();
  });

  test('what is only announced takes no memory', async (t) => {
    const server = await startServer(t, { env: { OUTPOST_MAX_CONNECTIONS_PER_USER: '1000' } });
    const witness = await Witness.of(t, server);
    const usual = await server.rss();
    for (let number = 0; number < 300; number++) {
      const peer = await dialTcp(t, server);
      await peer.signIn(server);
      peer.send(maskedFrame({ opcode: 2, payload: Buffer.alloc(10), length: 7_999_999 }));
    }
    await witness.assertServed();
    // A third of a megabyte for each would be more than this; they announced 8 MB each.
    assert.ok((await server.peakRss()) < usual + 100 * 1024 * 1024);
  });

  test('half a request head: others are served and the connection ends', async (t) => {
    const server = await startServer(t, { env: HASTY });
    const witness = await Witness.of(t, server);
    const descriptors = await server.descriptors();
    const halves = [
      '',
      'G',
      'GET /conat/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: webso',
      'GET /healthz HTTP/1.1\r\n',
      'POST /customize HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf',
    ];
    const peers = [];
    for (const half of [...halves, ...halves]) {
      const peer = await dialTcp(t, server);
      peer.send(half);
      peers.push(peer);
    }
    await witness.assertServed();
    for (const peer of peers) await within(60_000, peer.closed, 'close of a connection that asks for nothing');
    await until(async () => (await server.descriptors()) <= descriptors, 'descriptors closed');
    await witness.assertServed();
  });

  test('an upgraded connection that never says a word is closed', async (t) => {
    const server = await startServer(t, { env: HASTY });
    const witness = await Witness.of(t, server);
    const peers = [];
    for (let number = 0; number < 20; number++) {
      const peer = await dialTcp(t, server);
      assert.match(await peer.upgrade(server), / 101 /);
      peers.push(peer);
    }
    for (const peer of peers) await within(30_000, peer.closed, 'close for want of CONNECT');
    await witness.assertServed();
  });
});
