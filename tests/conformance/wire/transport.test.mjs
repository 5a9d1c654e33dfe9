// conat-wire.md §26.1: Engine.IO and Socket.IO as a plain WebSocket sees them.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { json } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { connect } from '../../support/client.mjs';
import { ENGINE, PACKET } from '../../support/packet.mjs';
import { busUrl, closeOf, connectRaw, openRaw } from '../../support/raw.mjs';
import { startServer } from '../../support/server.mjs';
import { dialTcp } from '../../support/tcp.mjs';
import { quiet, within } from '../../support/wait.mjs';

const MAX_PAYLOAD = 8_000_000;

describe('transport', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.stop());

  test('wire_001 the upgrade yields 101 and an open packet with the announced numbers', async (t) => {
    const peer = await openRaw(t, server);
    assert.equal(peer.openText[0], ENGINE.open);
    const { sid, ...rest } = peer.open;
    assert.equal(typeof sid, 'string');
    assert.ok(sid.length >= 16, `sid ${sid} is too short to be unguessable`);
    assert.deepEqual(rest, { upgrades: [], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: MAX_PAYLOAD });
  });

  test('wire_002 with base path /x the bus is at /x/conat/ and not at /conat/', async (t) => {
    const moved = await startServer(t, { env: { OUTPOST_BASE_PATH: '/x' } });
    const peer = await connectRaw(t, moved, { path: '/x/conat/' });
    assert.equal(peer.info.user, null);
    await assert.rejects(openRaw(t, moved, { path: '/conat/' }));
  });

  test('wire_003 EIO=3 or no EIO yields 400 with code 5', async () => {
    for (const query of ['EIO=3&transport=websocket', 'transport=websocket']) {
      assert.deepEqual(await refusal(server, query), { status: 400, code: 5 }, query);
    }
  });

  test('wire_004 an unknown transport yields 400 with code 0', async () => {
    for (const query of ['EIO=4&transport=foo', 'EIO=4&transport=polling']) {
      assert.deepEqual(await refusal(server, query), { status: 400, code: 0 }, query);
      // Without an upgrade too: this is how a client that only polls begins.
      const response = await server.fetch(`/conat/?${query}`);
      assert.equal(response.status, 400);
      assert.deepEqual(await response.json(), { code: 0, message: 'Transport unknown' });
    }
  });

  test('wire_005 transport=websocket without an upgrade yields 400 with code 3', async () => {
    const response = await server.fetch('/conat/?EIO=4&transport=websocket');
    assert.equal(response.status, 400);
    assert.match(response.headers.get('content-type'), /json/);
    const { code, message } = await response.json();
    assert.equal(code, 3);
    assert.equal(typeof message, 'string');
  });

  test('wire_006 an extra query parameter is ignored', async (t) => {
    await connectRaw(t, server, { query: 'EIO=4&transport=websocket&t=abc' });
    await connectRaw(t, server, { query: 't=abc&EIO=4&b64=1&transport=websocket' });
  });

  test('wire_007 CONNECT yields a sid that no other connection has', async (t) => {
    const peers = await Promise.all(Array.from({ length: 20 }, () => connectRaw(t, server)));
    const sids = peers.map((peer) => peer.sid);
    assert.ok(sids.every((sid) => typeof sid === 'string' && sid !== ''));
    assert.equal(new Set(sids).size, peers.length);
    assert.ok(peers.every((peer) => peer.sid !== peer.open.sid));
  });

  test('wire_008 CONNECT with an auth payload yields a sid too', async (t) => {
    const peer = await connectRaw(t, server, { auth: { browser_id: 'abc123', x: 1 } });
    assert.equal(typeof peer.sid, 'string');
  });

  test('wire_009 another namespace is refused and the default one works afterwards', async (t) => {
    const peer = await openRaw(t, server);
    peer.send('40/foo,');
    const { text } = await peer.wire.next();
    assert.equal(text, '44/foo,{"message":"Invalid namespace"}');
    await peer.connect();
    await peer.event('info');
    // The same once more on a connection that is already signed in.
    peer.send('40/bar,{"a":1}');
    await peer.packets.next({ where: ({ type, namespace }) => type === PACKET.connectError && namespace === '/bar' });
    assert.deepEqual(await peer.subscribe('t009'), { status: 'added' });
  });

  test('wire_010 an event before CONNECT closes the connection', async (t) => {
    const peer = await openRaw(t, server);
    peer.send('42["stats",{}]');
    await closeOf(peer);
  });

  test('wire_011 without CONNECT the connection is closed after 45 s', async (t) => {
    const peer = await openRaw(t, server);
    const opened = performance.now();
    const { at } = await within(50_000, peer.closed, 'close for want of CONNECT');
    const seconds = (at - opened) / 1000;
    assert.ok(seconds > 43 && seconds < 47, `closed after ${seconds} s`);
    assert.equal((await peer.pings.next()).at > opened, true, 'the ping of 25 s had been answered');
  });

  test('wire_011 the time for CONNECT is a setting', async (t) => {
    const hasty = await startServer(t, { env: { OUTPOST_CONNECT_TIMEOUT: '8s' } });
    const connected = await connectRaw(t, hasty);
    const silent = await openRaw(t, hasty);
    await closeOf(silent);
    assert.ok(connected.isOpen);
  });

  test('wire_012 pings come every 25 s and pongs keep the connection alive past 70 s', async (t) => {
    const peer = await openRaw(t, server);
    const opened = performance.now();
    await peer.connect();
    await peer.event('info');
    let before = opened;
    for (let count = 0; count < 2; count++) {
      const { at } = await peer.pings.next({ what: `ping ${count + 1}`, ms: 30_000 });
      const seconds = (at - before) / 1000;
      assert.ok(seconds > 23 && seconds < 28, `ping ${count + 1} came after ${seconds} s`);
      before = at;
    }
    await quiet(70_500 - (performance.now() - opened));
    assert.ok(peer.isOpen);
    assert.deepEqual(await peer.subscribe('t012'), { status: 'added' });
  });

  test('wire_013 an unanswered ping closes the connection after 20 s and its subscriptions are gone', async (t) => {
    const mute = await connectRaw(t, server, { pong: false });
    const witness = await connectRaw(t, server);
    await mute.subscribe('t013');
    assert.deepEqual(await witness.publishAcked('t013', [1]), { count: 1 });
    const { at: pinged } = await mute.pings.next({ what: 'ping', ms: 30_000 });
    const { at: closed } = await within(30_000, mute.closed, 'close for want of a pong');
    const seconds = (closed - pinged) / 1000;
    assert.ok(seconds > 18 && seconds < 23, `closed ${seconds} s after the ping`);
    assert.equal((await witness.publishAcked('t013', [1])).count, 0);
  });

  test('wire_013 interval and timeout of pings are settings', async (t) => {
    const env = { OUTPOST_PING_INTERVAL: '1s', OUTPOST_PING_TIMEOUT: '8s' };
    const hasty = await startServer(t, { env });
    const mute = await openRaw(t, hasty, { pong: false });
    assert.equal(mute.open.pingInterval, 1_000);
    assert.equal(mute.open.pingTimeout, 8_000);
    const answering = await connectRaw(t, hasty);
    await closeOf(mute);
    await answering.pings.take(4);
    assert.ok(answering.isOpen);
  });

  test('wire_013 a ping from the client closes the connection', async (t) => {
    const peer = await connectRaw(t, server);
    peer.send(ENGINE.ping);
    await closeOf(peer);
  });

  test('wire_014 malformed JSON closes its connection and no other', async (t) => {
    const witness = await connectRaw(t, server);
    for (const text of ['42["stats",{]', '42[', '42{}', '42nonsense', '42[1', '451-["publish"', '49[]']) {
      const peer = await connectRaw(t, server);
      peer.send(text);
      await closeOf(peer);
    }
    assert.deepEqual(await witness.subscribe('t014'), { status: 'added' });
  });

  test('wire_015 a binary message that nothing announced closes the connection', async (t) => {
    const peer = await connectRaw(t, server);
    peer.send(Buffer.from([1, 2, 3]));
    await closeOf(peer);
  });

  test('wire_016 a text event inside an attachment group closes the connection', async (t) => {
    const peer = await connectRaw(t, server);
    peer.send('451-["publish",["t016","id00000001",0,1,0,{"_placeholder":true,"num":0}]]');
    peer.send('42["stats",{}]');
    await closeOf(peer);
  });

  test('wire_017 an attachment of exactly 8 000 000 bytes passes, one more closes with 1009', async (t) => {
    const subscriber = await connectRaw(t, server);
    await subscriber.subscribe('t017');
    const publisher = await connectRaw(t, server);
    const largest = randomBytes(MAX_PAYLOAD);
    assert.deepEqual(await publisher.publishAcked('t017', largest), { count: 1 });
    const { args } = await subscriber.event('t017');
    assert.ok(largest.equals(args[0].data[4]));

    publisher.publish('t017', Buffer.alloc(MAX_PAYLOAD + 1));
    assert.equal(await closeOf(publisher), 1009);
    // Texts are measured like attachments.
    const talker = await connectRaw(t, server);
    talker.send('42["nothing","'.padEnd(MAX_PAYLOAD + 1 - 2, 'x') + '"]');
    assert.equal(await closeOf(talker), 1009);
    assert.equal(subscriber.packets.items.length, 0);
  });

  test('wire_018 an unknown event is never acknowledged and disturbs nothing', async (t) => {
    const peer = await connectRaw(t, server);
    const unknown = peer.emitWithId('no-such-event', { a: 1 });
    const binary = peer.emitWithId('no-such-binary-event', Buffer.from('abc'));
    for (let round = 0; round < 20; round++) {
      assert.deepEqual(await peer.ask('subscriptions', null), [[]]);
    }
    await quiet(300);
    assert.equal(peer.hasAnswer(unknown), false);
    assert.equal(peer.hasAnswer(binary), false);
  });

  test('wire_019 permessage-deflate is declined and no frame has RSV1 set', async (t) => {
    const peer = await dialTcp(t, server);
    const offer = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' };
    const response = await peer.upgrade(server, offer);
    assert.match(response, /^HTTP\/1\.1 101 /);
    assert.doesNotMatch(response, /sec-websocket-extensions/i);
    peer.sendText('40');
    await peer.text(/^42\d*\["info"/);
    peer.sendText('420["subscribe",{"subject":"t019","queue":"q"}]');
    await peer.text(/^430\[/);
    const publisher = await connectRaw(t, server, { perMessageDeflate: true });
    assert.equal(publisher.extensions, '');
    // What compresses well is what a server that compresses would compress.
    const compressible = Buffer.alloc(100_000, 'a');
    assert.deepEqual(await publisher.publishAcked('t019', compressible), { count: 1 });
    const { payload, rsv } = await peer.frames.next({ where: ({ opcode }) => opcode === 2 });
    assert.equal(rsv, 0);
    assert.ok(payload.equals(compressible));
  });

  test('wire_019 a stock client that offers compression exchanges messages', async (t) => {
    const client = await connect(t, server, { perMessageDeflate: { threshold: 0 } });
    const messages = await client.subscribe('t019.client');
    const text = 'compressible '.repeat(10_000);
    assert.equal((await client.publish('t019.client', text)).count, 1);
    assert.ok((await messages.next()).raw.length > text.length);
  });

  test('wire_020 text parts and attachments of concurrent deliveries are never interleaved', async (t) => {
    const subscriber = await connectRaw(t, server);
    await subscriber.subscribe('t020.*');
    const publishers = await Promise.all(Array.from({ length: 100 }, () => connectRaw(t, server)));
    const rounds = 20;
    for (let round = 0; round < rounds; round++) {
      publishers.forEach((peer, who) => {
        // Two attachments and a payload that names publisher and round, large enough to span TCP segments.
        const mark = `${who}/${round}`;
        peer.publish(`t020.${who}`, Buffer.from(mark.padEnd(3000, '.')), {
          id: mark,
          headers: { b: Buffer.from(mark) },
        });
      });
    }
    const packets = await subscriber.packets.take(publishers.length * rounds, { ms: 30_000 });
    assert.deepEqual(subscriber.violations, []);
    const next = new Map();
    for (const { args } of packets) {
      const [id, , , , raw, headers] = args[0].data;
      assert.equal(raw.toString(), id.padEnd(3000, '.'));
      assert.equal(headers.b.toString(), id);
      const [who, round] = id.split('/').map(Number);
      assert.equal(round, next.get(who) ?? 0, `publisher ${who} out of order`);
      next.set(who, round + 1);
    }
  });
});

/** Status and code of a refused WebSocket handshake. */
async function refusal(server, query) {
  const websocket = new WebSocket(busUrl(server, { query }));
  const [request, response] = await within(10_000, once(websocket, 'unexpected-response'), 'refusal');
  const { code, message } = await json(response);
  request.destroy();
  assert.equal(typeof message, 'string');
  return { status: response.statusCode, code };
}
