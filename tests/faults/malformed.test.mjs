// What a client can send must never take the process down or reach another client in a form that breaks it. Stock
// clients throw on a placeholder without attachment and recurse into headers, so the server has to look at both.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, valueOf } from '../support/client.mjs';
import { connectRaw, openRaw } from '../support/raw.mjs';
import { startServer } from '../support/server.mjs';
import { dialTcp, maskedFrame } from '../support/tcp.mjs';
import { within } from '../support/wait.mjs';
import { Witness } from '../support/witness.mjs';

const PLACEHOLDER = '{"_placeholder":true,"num":0}';

/** Numbers that are the same in every run with the same seed (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A subscriber of each kind to `target.>`, that must survive whatever is published there. */
async function victims(t, server) {
  const raw = await connectRaw(t, server);
  await raw.subscribe('target.>');
  const stock = await connect(t, server);
  stock.socket.on('disconnect', (reason) => (stock.lost = reason));
  const messages = await stock.subscribe('target.>');
  return {
    /** Both still receive, and nothing that came before broke them. */
    async assertUnharmed(publisher) {
      assert.equal((await publisher.publish('target.good', 'good')).count, 2);
      const { text } = await raw.wire.next({ where: (message) => message.text?.includes('"target.good"') });
      assert.match(text, /^451-\["target\.>",/);
      assert.deepEqual(raw.violations, []);
      assert.equal(stock.lost, undefined, 'a stock client was broken by what another one sent');
      assert.equal(valueOf(await messages.next({ where: ({ subject }) => subject === 'target.good' })), 'good');
      raw.packets.drain();
      raw.wire.drain();
    },
  };
}

/** Sends WebSocket messages on a connection of their own and waits until the server has dealt with them. */
async function attack(t, server, ...messages) {
  const peer = await connectRaw(t, server);
  for (const message of messages) peer.send(message);
  // Either the server hangs up, or it answers what comes next on the same connection.
  peer.send('42900["subscriptions",null]');
  await Promise.race([peer.closed, peer.answer(900).catch(() => {})]);
  peer.terminate();
}

/** The text of a publish to `target.x` with this JSON in place of its headers. */
const withHeaders = (json, count = 1) =>
  `45${count}-["publish",["target.x","id00000001",0,1,0,${PLACEHOLDER},${json}]]`;

describe('malformed input', () => {
  test('placeholders that name no attachment never reach a subscriber', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const victim = await victims(t, server);
    const raw = Buffer.from([0xc0]);
    const numbers = [
      '1',
      '7',
      '-1',
      '-0',
      '0.5',
      '1e9',
      '1e999',
      '"0"',
      'null',
      'true',
      '[0]',
      '{}',
      '18446744073709551616',
    ];
    const hostile = [
      ...numbers.map((num) => withHeaders(`{"a":{"_placeholder":true,"num":${num}}}`)),
      withHeaders('{"a":{"_placeholder":true}}'),
      withHeaders('{"_placeholder":true,"num":9}'),
      withHeaders('[[{"num":9,"_placeholder":true}]]'),
      // Spelled and ordered so that only a JSON parser sees it.
      withHeaders('{"a":{"\\u005fplaceholder":true,"num":9}}'),
      withHeaders('{"a":{"_placeholder":true,"n\\u0075m":9}}'),
      withHeaders('{"a":{"_placeholder":false,"_placeholder":true,"num":9}}'),
      withHeaders('{"a":{"_placeholder":true,"num":0,"num":9}}'),
      withHeaders('{"a":{ "_placeholder" : true , "num" : 9 }}'),
      `451-["publish",["target.x",{"_placeholder":true,"num":3},0,1,0,${PLACEHOLDER}]]`,
      '451-["publish",["target.x","id00000001",0,1,0,{"_placeholder":true,"num":1}]]',
      '451-["publish",["target.x","id00000001",0,1,0,"no placeholder at all"]]',
      `451-["publish",["target.x","id00000001",{"_placeholder":true,"num":5},{"_placeholder":true,"num":6},0,${PLACEHOLDER}]]`,
      `451-["publish",{"_placeholder":true,"num":2}]`,
      `451-[{"_placeholder":true,"num":0},["target.x"]]`,
    ];
    for (const text of hostile) {
      await attack(t, server, text, raw);
      await victim.assertUnharmed(witness.client);
    }
    // Without any attachment there is nothing a placeholder could name.
    for (const headers of ['{"a":{"_placeholder":true,"num":0}}', '{"_placeholder":true,"num":7}']) {
      await attack(t, server, `42["publish",["target.x","id00000001",0,1,0,"text",${headers}]]`);
      await victim.assertUnharmed(witness.client);
    }
    await witness.assertServed();
  });

  test('attachments that nothing names, or that are named twice, are harmless', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const victim = await victims(t, server);
    const raw = Buffer.from([0xc0]);
    await attack(t, server, withHeaders('{"a":1}', 2), raw, raw);
    await attack(t, server, withHeaders(`{"a":${PLACEHOLDER},"b":${PLACEHOLDER}}`), raw);
    await attack(t, server, withHeaders('{"a":{"_placeholder":true,"num":1}}', 3), raw, raw, raw);
    await attack(
      t,
      server,
      withHeaders('{"a":{"_placeholder":"yes","num":0},"b":{"_placeholder":false,"num":8}}'),
      raw,
    );
    await victim.assertUnharmed(witness.client);
    await witness.assertServed();
  });

  test('absurd attachment counts are refused', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const victim = await victims(t, server);
    const usual = await server.rss();
    for (const count of [
      '11',
      '65536',
      '4294967296',
      '999999999999',
      '18446744073709551616',
      '9'.repeat(400),
      '-1',
      '0x1',
      '',
    ]) {
      const peer = await connectRaw(t, server);
      peer.send(`45${count}-["publish",["target.x","id00000001",0,1,0,${PLACEHOLDER}]]`);
      peer.send(Buffer.from([0xc0]));
      peer.terminate();
      await peer.closed;
      await victim.assertUnharmed(witness.client);
    }
    assert.ok((await server.rss()) < usual + 32 * 1024 * 1024, 'no memory for attachments that were only announced');
    await witness.assertServed();
  });

  test('deep nesting reaches no subscriber that it could break', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const victim = await victims(t, server);
    const raw = Buffer.from([0xc0]);
    for (const depth of [1_000, 10_000, 100_000, 1_000_000]) {
      const nested = [
        '['.repeat(depth) + ']'.repeat(depth),
        '{"a":'.repeat(depth) + '1' + '}'.repeat(depth),
        '['.repeat(depth),
        '['.repeat(depth) + PLACEHOLDER + ']'.repeat(depth),
      ];
      for (const json of nested) await attack(t, server, withHeaders(json), raw);
      await attack(t, server, `451-["publish",["target.x",${nested[0]},0,1,0,${PLACEHOLDER}]]`, raw);
      for (const event of ['subscribe', 'unsubscribe', 'stats', 'wait-for-interest', 'fast-rpc', 'nothing']) {
        await attack(t, server, `421["${event}",${nested[0]}]`);
        await attack(t, server, `421["${event}",{"subject":${nested[0]},"queue":${nested[1]},"payload":${nested[0]}}]`);
      }
      await attack(t, server, `43${nested[0]}`);
      const early = await openRaw(t, server);
      early.send(`40${nested[1]}`);
      await Promise.race([early.closed, early.event('info').catch(() => {})]);
      await victim.assertUnharmed(witness.client);
    }
    // What people really write goes through.
    const modest = JSON.parse('['.repeat(16) + ']'.repeat(16));
    assert.equal((await witness.client.publish('target.modest', null, { headers: { modest } })).count, 2);
    await victim.assertUnharmed(witness.client);
    await witness.assertServed();
  });

  test('services are as safe as subscribers', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const service = await connect(t, server);
    service.socket.on('disconnect', (reason) => (service.lost = reason));
    for (const event of ['rpc-request', 'fast-rpc-request'])
      service.socket.on(event, (_, answer) => answer({ good: true }));
    await service.ask('rpc-service', { subject: 'service', queue: '0' });
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    for (const bad of ['{"_placeholder":true,"num":3}', '{"\\u005fplaceholder":true,"num":3}', deep]) {
      const fields = `"encoding":0,"raw":${PLACEHOLDER},"headers":${bad},"payload":[${PLACEHOLDER},${bad}]`;
      for (const event of ['rpc', 'fast-rpc', 'rpc-raw']) {
        await attack(
          t,
          server,
          `451-1["${event}",{"requestId":"r","subject":"service",${fields}}]`,
          Buffer.from([0xc0]),
        );
      }
      // Callers neither: the answer of a service comes from a client too.
      const caller = await connect(t, server);
      const impostor = await connectRaw(t, server);
      await impostor.ask('rpc-service', { subject: 'bad-service', queue: '0' });
      const asked = caller
        .ask('fast-rpc', { subject: 'bad-service', payload: null, timeout: 500 }, 5_000)
        .catch(() => {});
      const request = await impostor.event('fast-rpc-request');
      impostor.send(`461-${request.id}[{"raw":${PLACEHOLDER},"bad":${bad}}]`);
      impostor.send(Buffer.from([0xc0]));
      await asked;
      assert.ok(caller.socket.connected, 'the caller was broken by the answer of a service');
      impostor.terminate();
      assert.equal(service.lost, undefined, 'a service was broken by what a caller sent');
      assert.equal((await witness.client.ask('fast-rpc', { subject: 'service', payload: null })).good, true);
    }
    await witness.assertServed();
  });

  test('an array of millions costs neither memory nor time of others', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const usual = await server.rss();
    for (const event of ['subscribe', 'unsubscribe', 'rpc-service', 'rpc-service-close']) {
      for (const element of ['0', '{}']) {
        const peer = await connectRaw(t, server);
        peer.send(`421["${event}",[${`${element},`.repeat(7_900_000 / (element.length + 1))}0]]`);
        const dealtWith = Promise.race([peer.closed, peer.answer(1, 60_000)]);
        await witness.assertServed();
        await dealtWith;
        peer.terminate();
      }
    }
    const peak = await server.peakRss();
    assert.ok(peak < usual + 256 * 1024 * 1024, `${peak} bytes at the worst moment`);
    await witness.assertServed();
  });

  test('strange but legal strings are carried faithfully', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const { client } = witness;
    const messages = await client.subscribe('odd.>');
    const tokens = [
      '"quoted"',
      'back\\slash',
      '\u0001',
      '\u007f',
      '<b>x</b',
      '{"_placeholder":true,"num":7}',
      "'",
      '\u{1F600}',
      '[0]',
    ];
    for (const token of tokens) {
      const subject = `odd.${token}`;
      assert.equal((await client.publish(subject, token, { headers: { [token]: token } })).count, 1, subject);
      const message = await messages.next();
      assert.equal(message.subject, subject);
      assert.deepEqual(message.headers, { [token]: token });
      // As a pattern it becomes the name of an event.
      const own = await client.subscribe(subject);
      assert.equal((await client.publish(subject, token)).count, 2);
      assert.equal((await own.next()).subject, subject);
      await messages.next();
    }
    await witness.assertServed();
  });

  test('packets out of place are answered, ignored or end their own connection', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const victim = await victims(t, server);
    const texts = [
      ...[
        '',
        '0',
        '1',
        '3',
        '5',
        '6',
        '7',
        '9',
        'b',
        '\u0000',
        '4',
        '40',
        '41',
        '42',
        '43',
        '44',
        '45',
        '46',
        '47',
        '48',
      ],
      ...[
        '43[]',
        '439[]',
        '43999999999999999999999[1]',
        '43-1[]',
        '431{}',
        '42[]',
        '42[1]',
        '42[null]',
        '42[{}]',
        '42[[]]',
      ],
      ...['42/x,["publish"]', '42/x["publish"]', '40/,', '41/x,', '42"publish"', '42 ["subscriptions",null]', '4 2[]'],
      ...[
        '44{"message":"x"}',
        '40{"sid":"stolen"}',
        '420["connect"]',
        '421["disconnect"]',
        '42["error",{}]',
        '42["newListener"]',
      ],
      ...['42["__proto__",{}]', '42["constructor",{}]', '42["publish"]', '42["info",{}]', '42["permission",{}]'],
      ...['421["subscribe",{"subject":{"a":1},"queue":[]}]', '421["subscribe",[[[]]]]', '42["rpc-raw-response",null]'],
      ...[
        '421["wait-for-interest",{"subject":"x","timeout":"9"}]',
        '421["wait-for-interest",{"subject":"x","timeout":-5}]',
      ],
      ...['42184467440737095516160["subscriptions"]', '4200000000000000001["subscriptions"]', '421.5["subscriptions"]'],
      ...[
        '421["fast-rpc",null]',
        '421["rpc",{}]',
        '42["rpc-raw",{"requestId":{"a":1},"subject":[]}]',
        '42["cluster-interest-open",{}]',
      ],
    ];
    for (const text of texts) await attack(t, server, text);
    await attack(t, server, ...texts.slice(20).map(String));
    await attack(t, server, Buffer.alloc(0), Buffer.alloc(1_000_000), 'text');
    const many = JSON.stringify(Array.from({ length: 200_000 }, () => null));
    for (const event of ['subscribe', 'unsubscribe', 'rpc-service']) await attack(t, server, `421["${event}",${many}]`);
    await victim.assertUnharmed(witness.client);
    await witness.assertServed();
  });

  test('random bytes, texts and mutations of valid packets', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const victim = await victims(t, server);
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
    t.diagnostic(`SEED=${seed}`);
    const next = random(seed);
    const below = (limit) => Math.floor(next() * limit);
    const valid = [
      withHeaders('{"a":{"_placeholder":true,"num":0}}'),
      '421["subscribe",{"subject":"target.*","queue":"q"}]',
      '42["publish",["target.x","id",0,1,0,"x",{}]]',
      '421["fast-rpc",{"subject":"service","payload":{"a":[1,2,{"b":null}]}}]',
    ];
    const alphabet = '[]{}",:0123456789-/\\eE.tfnu_placeholder\u0000\u00e9 ';
    for (let round = 0; round < 300; round++) {
      const messages = [];
      for (let count = 1 + below(4); count > 0; count--) {
        const kind = below(4);
        if (kind === 0) messages.push(Buffer.from(Array.from({ length: below(200) }, () => below(256))));
        if (kind === 1)
          messages.push(Array.from({ length: below(100) }, () => alphabet[below(alphabet.length)]).join(''));
        if (kind > 1) {
          const characters = [...valid[below(valid.length)]];
          for (let edit = below(4); edit >= 0; edit--) {
            characters.splice(below(characters.length), below(3), alphabet[below(alphabet.length)]);
          }
          messages.push(characters.join(''));
          if (kind === 3) messages.push(Buffer.from([0xc0]));
        }
      }
      await attack(t, server, ...messages);
      if (round % 20 === 0) await victim.assertUnharmed(witness.client);
    }
    await victim.assertUnharmed(witness.client);
    await witness.assertServed();
  });

  test('frames that no WebSocket client sends', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const text = Buffer.from('42["stats",{}]');
    const frames = {
      'invalid UTF-8': maskedFrame({ payload: Buffer.from([0x34, 0x32, 0xff, 0xfe]) }),
      'RSV1 without extension': maskedFrame({ rsv: 0x40, payload: text }),
      'reserved opcode': maskedFrame({ opcode: 3, payload: text }),
      'reserved control opcode': maskedFrame({ opcode: 11, payload: text }),
      'continuation of nothing': maskedFrame({ opcode: 0, payload: text }),
      'fragmented control frame': maskedFrame({ opcode: 9, fin: false }),
      'control frame of 126 bytes': maskedFrame({ opcode: 9, payload: Buffer.alloc(126) }),
      'close with one byte': maskedFrame({ opcode: 8, payload: Buffer.from([3]) }),
      'close with a bad code': maskedFrame({ opcode: 8, payload: Buffer.from([0, 1]) }),
      'text inside a fragmented text': Buffer.concat([
        maskedFrame({ fin: false, payload: text }),
        maskedFrame({ payload: text }),
      ]),
      unmasked: Buffer.concat([Buffer.from([0x81, text.length]), text]),
      noise: Buffer.from(Array.from({ length: 4_096 }, (_, index) => (index * 7_919) % 256)),
    };
    for (const [name, bytes] of Object.entries(frames)) {
      const peer = await dialTcp(t, server);
      await peer.signIn(server);
      peer.send(bytes);
      await within(10_000, peer.closed, `close after ${name}`);
    }
    // A ping of the WebSocket itself is legal and has to be answered.
    const peer = await dialTcp(t, server);
    await peer.signIn(server);
    peer.send(maskedFrame({ opcode: 9, payload: Buffer.from('echo') }));
    const pong = await peer.frames.next({ where: ({ opcode }) => opcode === 10, what: 'pong' });
    assert.equal(pong.payload.toString(), 'echo');
    await witness.assertServed();
  });

  test('requests that are no HTTP', async (t) => {
    const server = await startServer(t);
    const witness = await Witness.of(t, server);
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
    const target = '/conat/?EIO=4&transport=websocket';
    const requests = [
      '\r\n\r\n\r\n\r\n',
      '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003',
      'GET\r\n\r\n',
      `GET ${target} HTTP/9.9\r\n\r\n`,
      `GET ${target} HTTP/1.1\r\nHost: a\r\nHost: b\r\n${upgrade}\r\n`,
      `GET ${target} HTTP/1.1\r\nHost: x\r\n${upgrade}Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: x\r\n\r\n`,
      `GET ${target} HTTP/1.1\r\nHost: x\r\n${upgrade}Sec-WebSocket-Version: 13\r\n\r\n`,
      `POST ${target} HTTP/1.1\r\nHost: x\r\n${upgrade}Content-Length: 0\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
      `GET ${target} HTTP/1.1\r\nHost: x\r\nCookie: ${'a'.repeat(1_000_000)}\r\n\r\n`,
      `GET /${'a'.repeat(1_000_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET / HTTP/1.1\r\nHost: x\r\n${'X: y\r\n'.repeat(50_000)}\r\n`,
      `POST ${target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n`,
      'GET /static/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n',
      'GET /static/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n',
      'GET /%00%ff%zz HTTP/1.1\r\nHost: x\r\n\r\n',
    ];
    for (const request of requests) {
      const peer = await dialTcp(t, server);
      peer.send(request);
      const head = await Promise.race([peer.closed, peer.responses.next().catch(() => undefined)]);
      assert.doesNotMatch(head ?? '', /^HTTP\/1\.1 (101|5)/, JSON.stringify(request.slice(0, 80)));
      peer.destroy();
    }
    await witness.assertServed();
  });
});
