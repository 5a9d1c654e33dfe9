// hub.md §18 A to C, as far as the process, its identity and its door can be seen from outside.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { accountCookie } from '../../support/cookies.mjs';
import { startHub } from '../../support/hub.mjs';
import { ACCOUNT, BINARY, PROJECT, startServer } from '../../support/server.mjs';
import { dialTcp } from '../../support/tcp.mjs';
import { until, within } from '../../support/wait.mjs';

const TOKEN = 's3cret-token';
const OTHER = '11111111-1000-4000-8000-000000000009';

/** Runs the program where it is expected to give up; gives its exit status and what it said. */
async function giveUp(t, env) {
  const root = await mkdtemp(join(tmpdir(), 'outpost-test-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const child = spawn(BINARY, ['serve'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: '0', HOME: root, DATA: join(root, 'data'), ...env },
  });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (said += text));
  const [status] = await within(20_000, once(child, 'exit'), 'end of the server');
  return { status, said };
}

test('hub_002 a home directory that is called like a project is one', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'outpost-test-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const home = join(root, OTHER);
  await mkdir(home);
  const server = await startServer(t, { env: { HOME: home } });
  const { configuration } = await (await server.fetch('/customize')).json();
  assert.equal(configuration.project_id, OTHER);
});

test('hub_003 a project id that is none keeps the server from starting', async (t) => {
  const { status, said } = await giveUp(t, { COCALC_PROJECT_ID: 'my-project' });
  assert.notEqual(status, 0);
  assert.match(said, /COCALC_PROJECT_ID/);
});

test('hub_004 the URL with the token stands on a line of standard output', async (t) => {
  const server = await startServer(t, { policy: 'lite', env: { AUTH_TOKEN: 's3cret token&x' } });
  const line = await until(() => server.stdout.split('\n').find((text) => text.includes('auth_token=')), 'the URL');
  assert.match(line, new RegExp(`http://[^ ]*:${server.port}[^ ]*\\?auth_token=s3cret(%20|\\+)token%26x`));
});

test('hub_006 a port that is taken ends the second server with status 1', async (t) => {
  const server = await startServer(t);
  const { status, said } = await giveUp(t, { PORT: String(server.port) });
  assert.equal(status, 1);
  assert.match(said, new RegExp(String(server.port)));
});

test('hub_009 without HOST nobody but this machine gets in', async (t) => {
  const server = await startServer(t, { env: { HOST: '' } });
  (await dialTcp(t, server)).destroy();
  const others = Object.values(networkInterfaces()).flat();
  for (const { address } of others.filter((other) => !other.internal && other.family === 'IPv4')) {
    await assert.rejects(fetch(`http://${address}:${server.port}/`, { signal: AbortSignal.timeout(10_000) }), address);
  }
});

test('hub_024 a browser with a cookie is the account and nothing else', async (t) => {
  const server = await startHub(t, { env: { AUTH_TOKEN: TOKEN } });
  const client = await connect(t, server, { cookie: accountCookie(TOKEN) });
  assert.deepEqual(client.info.user, { account_id: ACCOUNT });
});

test('hub_025 the account keeps out of what is the hub’s', async (t) => {
  const server = await startHub(t);
  const client = await connect(t, server);
  for (const subject of ['persist.hub.x', `hub.project.${PROJECT}.api`, `hub.account.${OTHER}.api`]) {
    assert.equal((await client.publish(subject, null)).code, 403, subject);
  }
  for (const pattern of [`_INBOX.account-${OTHER}.*`, `hub.account.${ACCOUNT}.api`, 'hub.*.*.api']) {
    assert.equal((await client.ask('subscribe', { subject: pattern, queue: '0' })).code, 403, pattern);
  }
});

test('hub_030 SSL_DIR says where the certificate is', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'outpost-test-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await startServer(t, { env: { HOST: 'https://localhost', SSL_DIR: directory } });
  assert.deepEqual((await readdir(directory)).sort(), ['localhost.cert.pem', 'localhost.key.pem']);
});
