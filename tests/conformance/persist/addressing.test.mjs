// conat-persist.md §20, addressing and authorization: who serves what, and which paths may be opened.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { accountCookie, projectCookie, systemCookie } from '../../support/cookies.mjs';
import { Stream, openStream, serverOf } from '../../support/persist.mjs';
import { ACCOUNT, PROJECT, startServer } from '../../support/server.mjs';

const OTHER = '00000000-1000-4000-8000-000000000009';

describe('addressing', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startServer(undefined, { services: 'persist' });
  });
  after(() => server?.stop());

  test('persist_001 the server listens where the specification says', async (t) => {
    const client = await connect(t, server);
    for (const scope of ['hub', `project-${PROJECT}`, 'whatever']) {
      assert.equal(await client.count(`persist.${scope}.server.status`), 1);
      assert.equal(await client.count(`persist.${scope}.server.0.abc`), 1);
      assert.equal(await client.count(`persist.${scope}.server.1.abc`), 0);
      assert.equal(await client.count(`persist.${scope}.id`), 1);
    }
    assert.equal(await client.count('persist.hub.other'), 0);
  });

  test('persist_002 the status names the server', async (t) => {
    const client = await connect(t, server);
    const { value } = await client.request('persist.hub.server.status', null);
    assert.deepEqual(value, { id: '0' });
  });

  test('persist_003 persist_004 the balancer answers a bare string, always the same', async (t) => {
    const client = await connect(t, server);
    for (const scope of ['hub', `account-${ACCOUNT}`, `project-${PROJECT}`, 'hub', 'x']) {
      const answers = await client.requestMany(`persist.${scope}.id`, null, { headers: { some: 'header' } });
      const { raw, headers, encoding } = await answers.next();
      assert.deepEqual([Buffer.from(raw).toString('hex'), encoding, headers], ['a130', 0, undefined]);
    }
  });

  const refusal = async (client, scope, path, dialect) => {
    const stream = await openStream(client, path, { scope, dialect });
    const headers = await stream.failures.next({ what: `refusal of ${path}` });
    await assert.rejects(stream.inventory(), { code: headers.code });
    await stream.close();
    return headers;
  };

  const allowed = async (client, scope, path) => {
    const stream = await openStream(client, path, { scope });
    assert.equal((await stream.inventory()).count, 0, path);
    await stream.close();
  };

  test('persist_023 owners open what is theirs and nothing else', async (t) => {
    const client = await connect(t, server);
    for (const [kind, folder, id] of [
      ['account', 'accounts', ACCOUNT],
      ['project', 'projects', PROJECT],
      ['host', 'hosts', OTHER],
    ]) {
      const scope = `${kind}-${id}`;
      await allowed(client, scope, `${folder}/${id}/a b/{"ü"}:x`);
      const elsewhere = id === OTHER ? PROJECT : OTHER;
      for (const path of [`${folder}/${elsewhere}/x`, `${folder}/${id}`, 'hub/x', `x/${folder}/${id}/x`]) {
        const { error, code } = await refusal(client, scope, path);
        assert.match(error, /^Error: permission denied: subject 'persist\.\S+\.server\.0\.\S+' does not grant/);
        assert.match(error, new RegExp(`since it is not under '${folder}/${id}/'$`));
        assert.equal(code, 403);
      }
      for (const path of [`${folder}/${id}/`, `/${folder}/${id}/x`]) {
        const { error, code } = await refusal(client, scope, path, 'B');
        assert.match(error, /permission denied/);
        assert.equal(code, 403);
      }
    }
  });

  test('persist_024 paths that are not normalized are refused', async (t) => {
    const client = await connect(t, server);
    for (const path of ['', '.', '..', '../x', 'a/../b', 'a/./b', 'a//b', './a', 'a/..', 'a\0b']) {
      const { error, code } = await refusal(client, 'hub', path);
      assert.match(error, /permission denied/, JSON.stringify(path));
      assert.equal(code, 403);
    }
    await allowed(client, 'hub', '...');
    await allowed(client, 'hub', 'a\\b');
  });

  test('persist_025 a path longer than 4000 is refused', async (t) => {
    const client = await connect(t, server);
    await allowed(client, 'hub', '😀'.repeat(2000));
    for (const path of ['x'.repeat(4001), '😀'.repeat(2000) + 'x']) {
      assert.equal((await refusal(client, 'hub', path)).code, 403);
    }
  });

  test('persist_026 the scope hub opens any path, an unknown scope none', async (t) => {
    const client = await connect(t, server);
    await allowed(client, 'hub', `projects/${PROJECT}/t026`);
    await allowed(client, 'hub', 't026');
    for (const scope of ['hubs', 'user-1', 'anybody']) {
      const { error, code } = await refusal(client, scope, 'hub/x');
      assert.match(error, /invalid subject/);
      assert.equal(code, 403);
    }
  });

  test('persist_027 a scope with more than a UUID is refused', async (t) => {
    const client = await connect(t, server);
    for (const id of [`${PROJECT}x`, `${PROJECT}-1`, PROJECT.slice(1), `x${PROJECT.slice(1)}`]) {
      const { error, code } = await refusal(client, `project-${id}`, `projects/${PROJECT}/x`);
      assert.match(error, /permission denied/, id);
      assert.equal(code, 403);
    }
  });

  test('persist_023 a socket cannot be used from another scope', async (t) => {
    const [owner, thief] = [await connect(t, server), await connect(t, server)];
    const stream = await openStream(owner, `accounts/${ACCOUNT}/t023`, { scope: `account-${ACCOUNT}` });
    await stream.set('secret');
    const forged = new Stream(thief, { scope: `account-${OTHER}` });
    forged.id = stream.id;
    forged.serverSubject = `persist.account-${OTHER}.server.0.${stream.id}`;
    const answers = await forged.send('get', { seq: 1 });
    await assert.rejects(answers.next({ ms: 300 }), /not within/);
    assert.equal((await stream.get({ seq: 1 })).value, 'secret');
  });
});

test('persist_026 under the lite policy everybody reaches only their own scopes', async (t) => {
  const [token, secret] = ['token-of-the-test', 'secret-of-the-test'];
  const server = await startServer(t, {
    policy: 'lite',
    services: 'persist',
    env: { AUTH_TOKEN: token, OUTPOST_SYSTEM_PASSWORD: 'pw', OUTPOST_PROJECT_SECRET: secret },
  });
  const [account, project, hub] = await Promise.all(
    [accountCookie(token), projectCookie(PROJECT, secret), systemCookie('pw')].map((cookie) =>
      connect(t, server, { cookie }),
    ),
  );
  const [path, scope] = [`projects/${PROJECT}/t026`, `project-${PROJECT}`];
  for (const [n, client] of [account, project, hub].entries()) {
    assert.equal(await serverOf(client, scope), '0');
    const stream = await openStream(client, path, { scope });
    assert.equal((await stream.set(n)).seq, n + 1);
  }
  assert.equal((await account.publish('persist.hub.id', null)).code, 403);
  assert.equal((await project.publish(`persist.account-${ACCOUNT}.id`, null)).code, 403);
  const own = await openStream(account, `accounts/${ACCOUNT}/x`, { scope: `account-${ACCOUNT}` });
  assert.equal((await own.set(1)).seq, 1);
});
