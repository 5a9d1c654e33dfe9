// What the server writes about itself, at its most talkative, with everything secret that passes through it.

import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '../support/client.mjs';
import { accountCookie, projectCookie, systemCookie, tokenHash } from '../support/cookies.mjs';
import { connectRaw } from '../support/raw.mjs';
import { ACCOUNT, METRICS_TOKEN, PROJECT, startServer } from '../support/server.mjs';

const SECRETS = {
  token: 'TOKEN-k3Jq0ZpLmXb7Qe2R',
  system: 'SYSTEM-b7Qe2RtYuIk3Jq0',
  project: 'PROJECT-LmXk3Jq0b7Qe2R',
  wrong: 'WRONG-tYuIb7Qe2RLmXk3J',
  payload: 'PAYLOAD-Qe2RLmXk3Jq0b7',
  header: 'HEADER-2RtYuIb7QeLmXk3',
  bearer: 'BEARER-0ZpLmXb7Qe2RtYu',
};

for (const format of ['human', 'json']) {
  test(`secrets and payloads are not logged, not even at trace level in ${format} format`, async (t) => {
    const server = await startServer(t, {
      policy: 'lite',
      services: 'all',
      env: {
        AUTH_TOKEN: SECRETS.token,
        OUTPOST_SYSTEM_PASSWORD: SECRETS.system,
        OUTPOST_PROJECT_SECRET: SECRETS.project,
        OUTPOST_LOG: 'trace',
        OUTPOST_LOG_FORMAT: format,
      },
    });
    const hash = tokenHash(SECRETS.token, 'ab'.repeat(16));
    const cookies = [
      `cocalc-lite-auth=${encodeURIComponent(hash)}`,
      accountCookie(SECRETS.token),
      systemCookie(SECRETS.system),
      projectCookie(PROJECT, SECRETS.project),
    ];
    for (const cookie of cookies) await exchange(await connect(t, server, { cookie }));
    const failing = [
      { cookie: systemCookie(SECRETS.wrong) },
      { cookie: projectCookie(PROJECT, SECRETS.wrong) },
      { cookie: accountCookie(SECRETS.wrong) },
      { cookie: `cocalc-lite-auth=${SECRETS.wrong}` },
      { auth: { bearer: SECRETS.bearer } },
      { headers: { authorization: `Bearer ${SECRETS.bearer}` } },
    ];
    for (const options of failing) assert.ok((await connect(t, server, options)).info.user.error);
    const malformed = await connectRaw(t, server, { cookie: cookies[0] });
    malformed.send(`42["${SECRETS.payload}",`);
    await malformed.closed;

    const signedIn = await server.fetch(`/customize?auth_token=${encodeURIComponent(SECRETS.token)}`);
    assert.equal(signedIn.status, 303);
    const issued = /cocalc-lite-auth=([^;]+)/.exec(signedIn.headers.get('set-cookie'))[1];
    assert.equal((await server.fetch('/customize', { headers: { cookie: `cocalc-lite-auth=${issued}` } })).status, 200);
    assert.equal((await server.fetch(`/x?auth_token=${SECRETS.wrong}`)).status, 401);
    await server.metrics();
    await server.kill('SIGTERM');

    assert.ok(server.stderr.length > 1_000, 'there is a log to look at');
    const [urls, others] = partition(server.stdout.split('\n'), (line) => line.startsWith('http'));
    assert.equal(urls.length, 1);
    const written = others.join('\n') + server.stderr;
    const secrets = [
      ...Object.values(SECRETS),
      hash.split('$')[3],
      decodeURIComponent(issued).split('$')[3],
      METRICS_TOKEN,
    ];
    for (const secret of secrets) {
      const place = written.indexOf(secret);
      const around = written.slice(Math.max(0, place - 200), place + 100);
      assert.equal(place, -1, `the log has ${secret}:\n${around}`);
    }
  });
}

test('files that hold secrets are private', async (t) => {
  const server = await startServer(t, { policy: 'lite', env: { AUTH_TOKEN: SECRETS.token } });
  assert.equal((await stat(join(server.data, 'connection-info.json'))).mode & 0o777, 0o600);
  const password = join(server.data, 'secrets', 'conat-password');
  assert.equal((await stat(password)).mode & 0o777, 0o600);
  assert.equal((await stat(join(server.data, 'secrets'))).mode & 0o777, 0o700);
  const hub = await connect(t, server, { cookie: systemCookie((await readFile(password, 'utf8')).trim()) });
  assert.deepEqual(hub.info.user, { hub_id: 'system' });
});

/** Traffic of every kind with marked payloads and headers, allowed and refused. */
async function exchange(client) {
  const { account_id: account, project_id: project } = client.info.user;
  const scope = account ? `account-${ACCOUNT}` : project ? `project-${PROJECT}` : 'hub';
  const subject = `t.${scope}.x`;
  const headers = { note: SECRETS.header, binary: Buffer.from(SECRETS.payload) };
  const messages = await client.subscribe(subject);
  assert.equal((await client.publish(subject, SECRETS.payload, { headers })).count, 1);
  await messages.next();
  await client.publish('forbidden.to.most', SECRETS.payload, { headers });
  await client.publish('not valid', SECRETS.payload, { headers });
  await client.ask('fast-rpc', { subject, payload: SECRETS.payload });
  if (account) await client.call(`outpost.account-${ACCOUNT}.api`, 'nope', SECRETS.payload).catch(() => {});
  client.close();
}

function partition(items, belongs) {
  return [items.filter(belongs), items.filter((item) => !belongs(item))];
}
