// conat-wire.md §26.8 with the subject rules of hub.md §3.3. The hook itself is tested where it is; here is what its
// answers do on the wire.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { accountCookie, projectCookie, systemCookie } from '../../support/cookies.mjs';
import { connectRaw } from '../../support/raw.mjs';
import { ACCOUNT, PROJECT, startServer } from '../../support/server.mjs';

const TOKEN = 'a-long-access-token';
const SECRET = 'project-secret';
const STRANGER = '11111111-1000-4000-8000-000000000009';

const COOKIES = {
  hub: systemCookie('pw'),
  account: accountCookie(TOKEN),
  project: projectCookie(PROJECT, SECRET),
};

/** What an account or project may do with subjects, as [subject, may publish, may subscribe]. */
const RULES = {
  hub: [
    ['hub.account.x.api', true, true],
    ['_INBOX.anybody.x', true, true],
    ['public.x', true, true],
    [`t.account-${ACCOUNT}`, true, true],
    [`project.${PROJECT}.x`, true, true],
    ['sys.conat.default', true, true],
    ['test', true, true],
  ],
  account: [
    [`hub.account.${ACCOUNT}.api`, true, false],
    [`hub.account.${STRANGER}.api`, false, false],
    [`hub.project.${PROJECT}.api`, false, false],
    [`_INBOX.account-${ACCOUNT}.abc`, true, true],
    [`_INBOX.account-${ACCOUNT}`, true, true],
    [`_INBOX.account-${STRANGER}.abc`, true, false],
    [`_INBOX.project-${PROJECT}.abc`, true, false],
    ['_INBOX.hub-hub.abc', true, false],
    ['_INBOX.abc.def', true, false],
    ['public.x', false, true],
    ['public.x.y.z', false, true],
    [`account.${ACCOUNT}.x`, true, true],
    [`account.${STRANGER}.x`, false, false],
    [`t.account-${ACCOUNT}`, true, true],
    [`t.account-${ACCOUNT}.x.y`, true, true],
    [`t.account-${STRANGER}.x`, false, false],
    [`x.y.account-${ACCOUNT}`, false, false],
    [`project.${PROJECT}.api`, true, true],
    [`project.${STRANGER}.api`, false, false],
    [`t.project-${PROJECT}`, true, true],
    [`t.project-${PROJECT}.x`, true, true],
    [`t.project-${STRANGER}.x`, false, false],
    ['persist.hub.server', false, false],
    ['sys.conat.default', false, false],
    ['sys.conat.default.0', false, false],
    ['time.hub.api', false, false],
    ...['test', 'public', 'hub', '_INBOX', 'account', 'host'].map((subject) => [subject, false, false]),
    ['host.host.11111111-1000-4000-8000-000000000009', false, false],
  ],
  project: [
    [`hub.project.${PROJECT}.api`, true, false],
    [`hub.project.${STRANGER}.api`, false, false],
    [`hub.account.${ACCOUNT}.api`, false, false],
    [`_INBOX.project-${PROJECT}.abc`, true, true],
    [`_INBOX.account-${ACCOUNT}.abc`, true, false],
    ['public.x', false, true],
    [`project.${PROJECT}.api`, true, true],
    [`project.${STRANGER}.api`, false, false],
    [`t.project-${PROJECT}.x`, true, true],
    [`t.project-${STRANGER}.x`, false, false],
    [`account.${ACCOUNT}.x`, false, false],
    [`t.account-${ACCOUNT}.x`, false, false],
    ['persist.hub.server', false, false],
    ['sys.conat.default', false, false],
    ...['test', 'public', 'hub', '_INBOX', 'project'].map((subject) => [subject, false, false]),
  ],
};

/** Patterns with wildcards, which can only be subscribed to: [pattern, may subscribe]. */
const PATTERNS = {
  hub: [
    ['>', true],
    ['*', true],
    ['*.*.>', true],
  ],
  account: [
    ['>', false],
    ['*', false],
    ['*.>', false],
    ['*.*', false],
    ['*.*.>', false],
    ['_INBOX.>', false],
    ['_INBOX.*', false],
    ['_INBOX.*.abc', false],
    [`_INBOX.account-${ACCOUNT}.>`, true],
    [`_INBOX.account-${ACCOUNT}.abc.*`, true],
    ['public.>', true],
    ['public.*', true],
    [`*.account-${ACCOUNT}.>`, true],
    [`*.project-${PROJECT}.>`, true],
    ['*.account-*.>', false],
    ['account.*.x', false],
    ['account.>', false],
    ['hub.*.*.api', false],
    ['hub.>', false],
    ['project.>', false],
    ['sys.>', false],
  ],
  project: [
    ['>', false],
    ['*', false],
    ['*.*.>', false],
    ['_INBOX.>', false],
    [`_INBOX.project-${PROJECT}.>`, true],
    ['public.>', true],
    [`*.project-${PROJECT}.>`, true],
    [`*.account-${ACCOUNT}.>`, false],
  ],
};

describe('permissions', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer(undefined, {
      policy: 'lite',
      env: { AUTH_TOKEN: TOKEN, OUTPOST_SYSTEM_PASSWORD: 'pw', OUTPOST_PROJECT_SECRET: SECRET },
    });
  });
  after(() => server?.stop());

  const as = (t, who) => connect(t, server, { cookie: COOKIES[who] });

  test('wire_093 a publish is checked as pub with its subject, a subscribe as sub with its pattern', async (t) => {
    const client = await as(t, 'account');
    const subjects = ['t093.a', 't093.a', 't093.b.c.d'];
    for (const subject of subjects) {
      // Each publish anew, also when the answer could come from a cache.
      await client.publish(subject, null);
      const refusal = await client.permissions.next();
      assert.deepEqual([refusal.type, refusal.subject], ['pub', subject]);
    }
    for (const pattern of ['t093.*', 't093.>', 't093.a']) {
      await client.ask('subscribe', { subject: pattern, queue: 'q' });
      const refusal = await client.permissions.next();
      assert.deepEqual([refusal.type, refusal.subject], ['sub', pattern]);
    }
    assert.equal(client.permissions.items.length, 0);
  });

  test('wire_094 a denied publish yields a permission event and then an ack with 403', async (t) => {
    const peer = await connectRaw(t, server, { cookie: COOKIES.account });
    const id = peer.emitWithId('publish', ['t094.x', 'id00000001', 0, 1, 0, Buffer.from([0xc0])]);
    const [first, second] = await peer.packets.take(2);
    assert.equal(first.name, 'permission');
    assert.equal(first.id, undefined);
    assert.deepEqual(Object.keys(first.args[0]).sort(), ['message', 'subject', 'type']);
    assert.equal(first.args[0].type, 'pub');
    assert.equal(first.args[0].subject, 't094.x');
    assert.match(first.args[0].message, /^permission denied.*t094\.x/);
    assert.ok(first.args[0].message.includes(JSON.stringify({ account_id: ACCOUNT })), first.args[0].message);
    assert.equal(second.id, id);
    assert.equal(second.data.length, 1);
    assert.equal(second.data[0].code, 403);
    assert.match(second.data[0].error, /^Error: permission denied/);
  });

  test('wire_095 a denied publish without ack id yields the permission event', async (t) => {
    const client = await as(t, 'account');
    client.send('t095.x', 'dropped');
    const { type, subject } = await client.permissions.next();
    assert.deepEqual([type, subject], ['pub', 't095.x']);
  });

  test('wire_096 a denied subscribe yields a permission event, 403 and no subscription', async (t) => {
    const peer = await connectRaw(t, server, { cookie: COOKIES.account });
    const wanted = [
      { subject: `a.account-${ACCOUNT}`, queue: 'q' },
      { subject: 'secret.>', queue: 'q' },
    ];
    const id = peer.emitWithId('subscribe', wanted);
    const [first, second] = await peer.packets.take(2);
    assert.equal(first.name, 'permission');
    assert.deepEqual([first.args[0].type, first.args[0].subject], ['sub', 'secret.>']);
    assert.match(first.args[0].message, /^permission denied/);
    assert.equal(second.id, id);
    const [[added, denied]] = second.data;
    assert.deepEqual(added, { status: 'added' });
    assert.equal(denied.code, 403);
    assert.match(denied.error, /permission denied/);
    assert.deepEqual(await peer.ask('subscriptions', null), [[wanted[0].subject]]);
    // Without ack id too.
    peer.emit('subscribe', { subject: 'secret.x', queue: 'q' });
    assert.equal((await peer.event('permission')).args[0].subject, 'secret.x');
  });

  test('wire_097 a subject that the policy could stumble over is a plain denial', async (t) => {
    const client = await as(t, 'account');
    for (const subject of [
      'x',
      'host',
      'account',
      'project',
      'host.host',
      'project.not-a-uuid.x',
      't.host-x',
      '%ff',
      '\u{1F600}',
    ]) {
      assert.equal((await client.publish(subject, null)).code, 403, subject);
      assert.equal((await client.ask('subscribe', { subject, queue: 'q' })).code, 403, subject);
    }
    assert.ok(client.socket.connected);
  });

  for (const [who, rules] of Object.entries(RULES)) {
    test(`wire_098 the rules hold for a ${who}`, async (t) => {
      const client = await as(t, who);
      for (const [subject, mayPublish, maySubscribe] of rules) {
        assert.equal(await verdict(client.publish(subject, null)), mayPublish, `publish to ${subject}`);
        const subscribe = client.ask('subscribe', { subject, queue: 'q' });
        assert.equal(await verdict(subscribe), maySubscribe, `subscribe to ${subject}`);
      }
      for (const [pattern, maySubscribe] of PATTERNS[who]) {
        const subscribe = client.ask('subscribe', { subject: pattern, queue: 'q' });
        assert.equal(await verdict(subscribe), maySubscribe, `subscribe to ${pattern}`);
      }
    });
  }

  test('wire_098 somebody who failed to sign in may do nothing', async (t) => {
    const subjects = ['public.x', `_INBOX.account-${ACCOUNT}.x`, `t.account-${ACCOUNT}`, 'test'];
    const client = await connect(t, server);
    const operations = subjects.flatMap((subject) => [
      client.publish(subject, null),
      client.ask('subscribe', { subject, queue: 'q' }),
    ]);
    // A server may also have closed the connection by now, which is a refusal too.
    for (const outcome of await Promise.allSettled(operations)) {
      if (outcome.status === 'fulfilled') assert.equal(outcome.value.code, 403);
    }
  });

  test('wire_098 without accounts everybody may do everything', async (t) => {
    const open = await startServer(t);
    const client = await connect(t, open);
    for (const [subject] of RULES.account) {
      assert.equal(await verdict(client.publish(subject, null)), true, subject);
      assert.equal(await verdict(client.ask('subscribe', { subject, queue: 'q' })), true, subject);
    }
  });
});

/** Whether an operation was allowed: anything but a success or a 403 is a failure of the test. */
async function verdict(operation) {
  const answer = await operation;
  if (answer.code === 403) return false;
  if (answer.error !== undefined) throw new Error(JSON.stringify(answer));
  return true;
}
