// hub.md §18 G: the hub's API.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { projectCookie } from '../../support/cookies.mjs';
import { frontend, startHub } from '../../support/hub.mjs';
import { ACCOUNT, PROJECT } from '../../support/server.mjs';

const SECRET = 'project-secret';
const STRANGER = '6aae57c6-08f1-4bb5-848b-3ceb53e61ede';

describe('the API', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startHub(undefined, { env: { OUTPOST_PROJECT_SECRET: SECRET } });
  });
  after(() => server?.stop());

  test('hub_070 db.touch returns null', async (t) => {
    const user = await frontend(t, server);
    assert.equal(await user.call('db.touch', { project_id: PROJECT, path: 'a.md', action: 'edit' }), null);
  });

  test('hub_071 getNames knows the account and the project and nobody else', async (t) => {
    const own = await startHub(t);
    const user = await frontend(t, own);
    const names = () => user.call('system.getNames', [ACCOUNT, STRANGER, PROJECT]);
    const project = { first_name: 'CoCalc', last_name: 'Project' };
    assert.deepEqual(await names(), { [ACCOUNT]: { first_name: 'CoCalc', last_name: 'User' }, [PROJECT]: project });
    await user.query({ accounts: { first_name: 'Ada', profile: { color: 'red' } } });
    const account = { first_name: 'Ada', last_name: '', profile: { color: 'red' } };
    assert.deepEqual(await names(), { [ACCOUNT]: account, [PROJECT]: project });
  });

  test('hub_072 an unknown function is named in the error, and the body is null', async (t) => {
    const { client } = await frontend(t, server);
    const subject = `hub.account.${ACCOUNT}.api`;
    const { value, headers } = await client.request(subject, { name: 'system.nope', args: [] });
    assert.equal(value, null);
    assert.equal(headers.error, "not implemented function 'system.nope'");
    assert.deepEqual(headers.error_attrs, { code: 404, subject });
  });

  test('hub_073 a project asks for SSH keys and gets a list', async (t) => {
    const project = await connect(t, server, { cookie: projectCookie(PROJECT, SECRET) });
    const request = { name: 'projects.getSshKeys', args: [] };
    const { value, headers } = await project.request(`hub.project.${PROJECT}.api`, request);
    assert.equal(headers?.error, undefined);
    assert.deepEqual(value, []);
  });

  test('hub_074 failures do no harm to others, and 100 requests at once are answered', async (t) => {
    const user = await frontend(t, server);
    const calls = Array.from({ length: 100 }, (_, n) => {
      if (n % 4 === 0) return assert.rejects(user.call('no.such'), /not implemented/);
      if (n % 4 === 1) return assert.rejects(user.query({ no_such: { id: null } }), /unknown table/);
      if (n % 4 === 2) return user.call('db.touch', { project_id: PROJECT });
      return user.query({ projects: [{ title: null }] }).then((result) => assert.equal(result.projects.length, 1));
    });
    await Promise.all(calls);
    assert.equal(await user.call('db.touch', {}), null);
  });

  test('hub_074 bodies that make no sense are answered with an error', async (t) => {
    const { client } = await frontend(t, server);
    for (const body of [
      null,
      'x',
      [],
      { name: 7 },
      { name: 'db.userQuery', args: 'x' },
      { name: 'db.userQuery', args: [7] },
    ]) {
      const { value, headers } = await client.request(`hub.account.${ACCOUNT}.api`, body);
      assert.equal(value, null);
      assert.ok(headers.error, JSON.stringify(body));
    }
  });

  test('hub_075 no arguments are an empty object', async (t) => {
    const user = await frontend(t, server);
    assert.equal(await user.call('db.touch'), null);
    assert.equal(await user.call('db.touch', null), null);
    await assert.rejects(user.call('db.userQuery'), /invalid query/);
  });

  test('hub_076 a forged account is overwritten', async (t) => {
    const user = await frontend(t, server);
    const query = { project_log: { id: 'forged', event: {} } };
    const row = await user.call('db.userQuery', { query, account_id: STRANGER });
    assert.equal(row.project_log.account_id, ACCOUNT);
  });

  test('hub_077 the time service tells the time', async (t) => {
    const { client } = await frontend(t, server);
    const before = Date.now();
    const { value } = await client.request(`time.account-${ACCOUNT}.api`, { name: 'time', args: [] });
    assert.ok(before <= value && value <= Date.now(), String(value));
  });

  test('what frontends report is logged without its content', async (t) => {
    const own = await startHub(t);
    const user = await frontend(t, own);
    const error = 'TypeError: cannot open my-secret-file.txt\nat somewhere';
    assert.equal(await user.call('system.logClientError', { event: 'error', error }), null);
    await own.kill('SIGTERM');
    assert.match(own.stderr, /a frontend reports an error.*TypeError/);
    assert.ok(!own.stderr.includes('my-secret-file'));
  });
});
