// One byte too many, in every way in which a message can be too long.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { closeOf, connectRaw } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';
import { dialTcp, maskedFrame } from '../support/tcp.mjs';
import { until, within } from '../support/wait.mjs';
import { Witness } from '../support/witness.mjs';

const MAX_PAYLOAD = 8_000_000;
const RSS_SLACK = 48 * 1024 * 1024;

describe('oversize messages', () => {
  test('8 000 001 bytes close the connection with 1009 and are never delivered', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const tap = await witness.client.subscribe('>');
    const oversize = async () => {
      const peer = await connectRaw(t, server);
      peer.publish('big', Buffer.alloc(MAX_PAYLOAD + 1));
      assert.equal(await closeOf(peer), 1009);
    };
    await oversize();
    const usual = await server.rss();
    for (let round = 0; round < 10; round++) await oversize();
    await until(async () => (await server.rss()) < usual + RSS_SLACK, 'memory back');
    await witness.assertServed();
    assert.deepEqual(
      tap.items.filter(({ subject }) => subject === 'big'),
      [],
    );
  });

  test('fragments that add up to too much are refused as well', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const peer = await dialTcp(t, server);
    await peer.signIn(server);
    peer.sendText('451-["publish",["big","id00000001",0,1,0,{"_placeholder":true,"num":0}]]');
    const fragment = Buffer.alloc(1_000_000);
    for (let number = 0; number < 9; number++) {
      peer.send(maskedFrame({ opcode: number === 0 ? 2 : 0, fin: number === 8, payload: fragment }));
    }
    const close = await peer.frames.next({ where: ({ opcode }) => opcode === 8, what: 'close frame' });
    assert.equal(close.payload.readUInt16BE(0), 1009);
    await witness.assertServed();
  });

  test('a header that claims too much is refused before the bytes come', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const usual = await server.rss();
    for (const length of [MAX_PAYLOAD + 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      const peer = await dialTcp(t, server);
      await peer.signIn(server);
      peer.send(maskedFrame({ opcode: 2, length }));
      const close = await peer.frames.next({ where: ({ opcode }) => opcode === 8, what: `close frame for ${length}` });
      assert.equal(close.payload.readUInt16BE(0), 1009);
      await within(10_000, peer.closed, 'end of the connection');
    }
    assert.ok((await server.rss()) < usual + RSS_SLACK);
    await witness.assertServed();
  });

  test('exactly 8 000 000 bytes pass on the connection next to it', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const peer = await connectRaw(t, server);
    await peer.subscribe('big');
    assert.equal((await peer.publishAcked('big', Buffer.alloc(MAX_PAYLOAD))).count, 1);
    assert.equal((await peer.event('big')).attachments[0].length, MAX_PAYLOAD);
    await witness.assertServed();
  });
});
