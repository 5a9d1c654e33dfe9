// conat-wire.md §26.3: what is a subject, what is a pattern, and which of them match.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, randomId } from '../../support/client.mjs';
import { startServer } from '../../support/server.mjs';

/** The table of §4.1: string, valid as pattern, valid as subject. */
const GRAMMAR = [
  ['a', true, true],
  ['a.b', true, true],
  ['été.☃', true, true],
  ['a-b_c/d:e', true, true],
  ['a.*', true, false],
  ['*', true, false],
  ['a.*.c', true, false],
  ['>', true, false],
  ['a.>', true, false],
  ['a.>.b', false, false],
  ['a*b', true, false],
  ['a.x>', true, false],
  ['x>.a', true, true],
  ['>x.a', true, true],
  ['', false, false],
  ['.a', false, false],
  ['a.', false, false],
  ['a..b', false, false],
  ['a b', false, false],
  ['a.\u{FEFF}', false, false],
];

/** The table of §4.2: pattern, what it matches, what it does not. */
const MATCHES = [
  ['>', ['a', 'a.b.c'], []],
  ['a.>', ['a.b', 'a.b.c'], ['a', 'b.a']],
  ['a.*', ['a.b'], ['a', 'a.b.c']],
  ['*.b', ['a.b'], ['b', 'a.b.c']],
  ['foo.*.bar.>', ['foo.a.bar.b'], ['foo.a.bar', 'foo.x']],
  ['a.*.*', ['a.b.c'], ['a.b', 'a.b.c.d']],
];

/** White space of ECMAScript, the class that no token may contain. */
const WHITE = [
  ...[0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff],
  ...Array.from({ length: 11 }, (_, step) => 0x2000 + step),
];

/** Names that a subscription must not have, because clients and libraries give them another meaning (§2.12). */
const RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'];
const CONTROL = [
  ...['info', 'permission', 'rpc-request', 'rpc-raw-request', 'rpc-raw-response', 'fast-rpc-request'],
  'cluster-interest-delta',
];

// Tests use fixed one-letter subjects, so each needs a bus of its own or none at all: no concurrency here.
describe('subjects and matching', () => {
  let server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.stop());

  for (const [text, isPattern, isSubject] of GRAMMAR) {
    test(`wire_034 ${JSON.stringify(text)} is ${isPattern ? 'a' : 'no'} pattern and ${isSubject ? 'a' : 'no'} subject`, async (t) => {
      const client = await connect(t, server);
      const publish = await client.publish(text, null);
      const subscribe = await client.ask('subscribe', { subject: text, queue: 'q' });
      assert.deepEqual(publish, isSubject ? { ...publish, count: 0 } : { error: 'Error: invalid subject' });
      assert.deepEqual(subscribe, isPattern ? { status: 'added' } : { error: 'Error: invalid subject' });
    });
  }

  test('wire_035 an invalid pattern yields an error without code', async (t) => {
    const client = await connect(t, server);
    for (const subject of ['a..b', '', 'a b', 'a.>.b', '.']) {
      const answer = await client.ask('subscribe', { subject, queue: 'q' });
      assert.match(answer.error, /invalid subject/);
      assert.equal('code' in answer, false);
    }
    for (const subject of [7, null, ['a'], { a: 1 }, true]) {
      const answer = await client.ask('subscribe', { subject, queue: 'q' });
      assert.equal(typeof answer.error, 'string', `subject ${JSON.stringify(subject)}`);
    }
    assert.deepEqual(await client.ask('subscriptions'), []);
  });

  test('wire_036 publish to what is no subject yields invalid subject', async (t) => {
    const client = await connect(t, server);
    for (const subject of ['a.*', 'a.>', '>', 'a b', '', 'a..b']) {
      assert.match((await client.publish(subject, null)).error, /invalid subject/, JSON.stringify(subject));
    }
  });

  test('wire_037 white space is that of ECMAScript', async (t) => {
    const client = await connect(t, server);
    for (const code of WHITE) {
      const subject = `a.x${String.fromCodePoint(code)}y`;
      assert.match(
        (await client.publish(subject, null)).error ?? '',
        /invalid subject/,
        `publish U+${code.toString(16)}`,
      );
      const answer = await client.ask('subscribe', { subject, queue: 'q' });
      assert.match(answer.error ?? '', /invalid subject/, `subscribe U+${code.toString(16)}`);
    }
    // Next line, zero width space, Mongolian vowel separator: white space to some, not to ECMAScript.
    for (const code of [0x85, 0x200b, 0x180e]) {
      const subject = `a.x${String.fromCodePoint(code)}y`;
      await client.subscribe(subject);
      assert.equal(await client.count(subject), 1, `U+${code.toString(16)}`);
    }
  });

  for (const [pattern, matching, others] of MATCHES) {
    test(`wire_038 ${pattern} matches what it should and nothing else`, async (t) => {
      const client = await connect(t, server);
      const messages = await client.subscribe(pattern);
      for (const subject of [...others, ...matching]) await client.count(subject);
      // In order of publication, so that a wrong match would come first.
      const received = await messages.take(matching.length);
      assert.deepEqual(
        received.map(({ subject }) => subject),
        matching,
      );
    });
  }

  test('wire_039 a.> does not match a', async (t) => {
    const client = await connect(t, server);
    await client.subscribe('a.>');
    assert.equal(await client.count('a'), 0);
    assert.equal(await client.count('a.b'), 1);
    assert.equal(await client.interest('a'), false);
  });

  test('wire_040 a subscriber to foo.*.bar.> receives foo.a.bar.b only', async (t) => {
    const subscriber = await connect(t, server);
    const publisher = await connect(t, server);
    const messages = await subscriber.subscribe('foo.*.bar.>');
    for (const subject of ['foo.x', 'foo.a.bar', 'foo.a.bar.b']) await publisher.count(subject);
    assert.equal((await messages.next()).subject, 'foo.a.bar.b');
    assert.equal(messages.items.length, 0);
  });

  test('wire_041 unsubscribing a.b leaves a', async (t) => {
    const client = await connect(t, server);
    await client.subscribe('a');
    await client.subscribe('a.b');
    await client.ask('unsubscribe', { subject: 'a.b' });
    assert.equal(await client.count('a'), 1);
    assert.equal(await client.count('a.b'), 0);
  });

  test('wire_042 unsubscribing a leaves no phantom of it beside a.b', async (t) => {
    const client = await connect(t, server);
    await client.subscribe('a');
    await client.subscribe('a.b');
    await client.ask('unsubscribe', { subject: 'a' });
    assert.equal(await client.interest('a'), false);
    assert.equal(await client.count('a'), 0);
    assert.equal(await client.count('a.b'), 1);
  });

  test('wire_043 removing siblings leaves the wildcard beside them', async (t) => {
    const client = await connect(t, server);
    for (const pattern of ['a.b.c', 'a.b.d', 'a.b.>']) await client.subscribe(pattern);
    assert.equal(await client.count('a.b.c'), 2);
    await client.ask('unsubscribe', [{ subject: 'a.b.c' }, { subject: 'a.b.d' }]);
    for (const subject of ['a.b.c', 'a.b.d', 'a.b.c.d']) assert.equal(await client.count(subject), 1, subject);
  });

  test('wire_044 tokens that mean something to JavaScript are ordinary', async (t) => {
    const client = await connect(t, server);
    const tokens = ['constructor', '__proto__', 'toString', 'undefined', 'hasOwnProperty', 'prototype', 'null', '0'];
    for (const token of tokens) {
      assert.equal(await client.interest(token), false, token);
      assert.equal(await client.interest(`${token}.x`), false, token);
      assert.equal(await client.count(token), 0, token);
    }
    for (const token of tokens) {
      await client.subscribe(token);
      await client.subscribe(`x.${token}.y`);
      assert.equal(await client.count(token), 1, token);
      assert.equal(await client.count(`x.${token}.y`), 1, token);
      assert.equal(await client.count(`${token}.${token}`), 0, token);
    }
    await client.ask(
      'unsubscribe',
      tokens.map((token) => ({ subject: token })),
    );
    for (const token of tokens) {
      assert.equal(await client.count(token), 0, token);
      assert.equal(await client.count(`x.${token}.y`), 1, token);
    }
  });

  test('wire_045 matching stays correct with 100 000 patterns', async (t) => {
    const roomy = await startServer(t, { env: { OUTPOST_MAX_SUBSCRIPTIONS_PER_CLIENT: '0' } });
    const client = await connect(t, roomy);
    const patterns = 100_000;
    const batch = 5_000;
    for (let start = 0; start < patterns; start += batch) {
      const wanted = Array.from({ length: batch }, (_, offset) => {
        const number = start + offset;
        return { subject: number % 2 ? `x.*.${number}` : `x.${number}.id`, queue: 'q' };
      });
      const answers = await client.ask('subscribe', wanted, 60_000);
      assert.ok(answers.every(({ status }) => status === 'added'));
    }
    // A walk over all patterns for each of these would run into the deadline of the test by far.
    const probes = [];
    for (let round = 0; round < 1000; round++) {
      const odd = 2 * randomBelow(patterns / 2) + 1;
      probes.push([`x.any.${odd}`, 1], [`x.any.${odd - 1}`, 0], [`x.${odd - 1}.id`, 1], [`x.${odd}.id`, 0]);
      probes.push([`x.${odd - 1}.${odd}`, 1], [`y.any.${odd}`, 0]);
    }
    const counts = await Promise.all(probes.map(([subject]) => client.publish(subject, null, { ms: 60_000 })));
    probes.forEach(([subject, count], index) => assert.equal(counts[index].count, count, subject));
  });

  test('wire_046 reserved and control names are refused and publishes to them stay harmless', async (t) => {
    const client = await connect(t, server);
    const bystander = await connect(t, server);
    const messages = await bystander.subscribe('*');
    for (const name of [...RESERVED, ...CONTROL]) {
      const answer = await client.ask('subscribe', { subject: name, queue: 'q' });
      assert.equal(typeof answer.error, 'string', name);
      assert.equal(await client.count(name), 1, name);
      assert.equal((await messages.next()).subject, name);
    }
    assert.deepEqual(await client.ask('subscriptions'), []);
    // As a token among others they are ordinary.
    await client.subscribe('t046.disconnect');
    assert.equal(await client.count('t046.disconnect'), 1);
    assert.ok(client.socket.connected && bystander.socket.connected);
    assert.equal(client.permissions.items.length, 0);
  });

  test('matching agrees with a naive matcher on random patterns', async (t) => {
    const client = await connect(t, server);
    const alphabet = ['a', 'b', 'c', '*'];
    const wanted = new Set();
    while (wanted.size < 200) {
      const tokens = Array.from({ length: 1 + randomBelow(4) }, () => alphabet[randomBelow(4)]);
      if (!randomBelow(4)) tokens.push('>');
      wanted.add(tokens.join('.'));
    }
    const patterns = [...wanted];
    await client.ask(
      'subscribe',
      patterns.map((subject) => ({ subject, queue: randomId() })),
    );
    const removed = patterns.splice(0, 100);
    await client.ask(
      'unsubscribe',
      removed.map((subject) => ({ subject })),
    );
    for (let round = 0; round < 300; round++) {
      const tokens = Array.from({ length: 1 + randomBelow(5) }, () => alphabet[randomBelow(3)]);
      const expected = patterns.filter((pattern) => matches(pattern.split('.'), tokens)).length;
      assert.equal(await client.count(tokens.join('.')), expected, `${tokens.join('.')} against ${patterns.join(' ')}`);
    }
  });
});

const randomBelow = (limit) => Math.floor(Math.random() * limit);

/** The definition of §4.2, token by token. */
function matches([pattern, ...patterns], [token, ...tokens]) {
  if (pattern === undefined || token === undefined) return pattern === token;
  if (pattern === '>') return true;
  return (pattern === '*' || pattern === token) && matches(patterns, tokens);
}
