// hub.md §18 I, and conat-persist.md items 119 and 120: changefeeds. Item 109 takes a minute of time, which can be paused
// beside the code; it is tested there.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../support/client.mjs';
import { projectCookie } from '../../support/cookies.mjs';
import { Feed, frontend, startHub } from '../../support/hub.mjs';
import { ACCOUNT, PROJECT } from '../../support/server.mjs';
import { SOON, within } from '../../support/wait.mjs';

const SECRET = 'project-secret';
const LIMIT = 1000;

async function fresh(t) {
  const server = await startHub(t);
  return [await frontend(t, server), await frontend(t, server)];
}

describe('feeds', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startHub(undefined, { env: { OUTPOST_PROJECT_SECRET: SECRET } });
  });
  after(() => server?.stop());

  test('hub_099 the first message is what a get gives', async (t) => {
    const user = await frontend(t, server);
    for (const query of [
      { accounts: [{ account_id: null, first_name: null, editor_settings: null, other_settings: null }] },
      { projects: [{ project_id: null, title: null, settings: null, state: null }] },
      { collaborators: [{ account_id: null, profile: null }] },
      { news: [{ id: null, text: null }] },
      { public_paths: [{ id: null, project_id: PROJECT, path: null }] },
    ]) {
      assert.deepEqual(await (await user.feed(query)).next(), { update: await user.query(query) });
    }
  });

  test('hub_100 an undefined account gets its error at once', async (t) => {
    const user = await frontend(t, server);
    const feed = await user.feed({ accounts: [{ account_id: null }] }, { account: 'undefined' });
    assert.deepEqual(await feed.next(), { error: "invalid account_id -- 'undefined'" });
    await within(SOON, feed.closed, 'end of the socket');
  });

  test('hub_101 one query per socket', async (t) => {
    const user = await frontend(t, server);
    const feed = await user.feed({ projects: [{ project_id: null }] });
    await feed.next();
    feed.write({ query: { projects: [{ project_id: null }] } });
    assert.match((await feed.next()).error, /one query per connection/);
    await within(SOON, feed.closed, 'end of the socket');
  });

  test('a feed needs one table and an array pattern', async (t) => {
    const user = await frontend(t, server);
    for (const [query, error] of [
      [[{ accounts: [{ account_id: null }] }], 'changefeeds only implemented for single table queries'],
      [{ accounts: { account_id: null } }, 'changefeeds only implemented for array queries'],
      [{ nonsense: [{ id: null }] }, "unknown table 'nonsense'"],
      [null, 'invalid query'],
    ]) {
      const feed = await user.feed(query);
      assert.deepEqual(await feed.next(), { error });
      await within(SOON, feed.closed, 'end of the socket');
    }
    const feed = await user.socket();
    feed.write('nonsense');
    assert.deepEqual(await feed.next(), { error: 'invalid query' });
  });

  test('hub_104 a deletion comes with the key', async (t) => {
    const [user, other] = [await frontend(t, server), await frontend(t, server)];
    await user.query({ file_use: { id: 'del', path: 'x' } });
    const feed = await user.feed({ file_use: [{ id: 'del', path: null }] });
    assert.deepEqual(await feed.rows('file_use'), [{ id: 'del', path: 'x' }]);
    await other.query({ file_use: { id: 'del' } }, [{ delete: true }]);
    assert.deepEqual(await feed.next(), { update: { action: 'delete', old_val: { id: 'del' } } });
    // Deleting what is not there is no change.
    await other.query({ file_use: { id: 'del' } }, [{ delete: true }]);
    await other.query({ file_use: { id: 'del', path: 'y' } });
    assert.deepEqual(await feed.next(), { update: { action: 'insert', new_val: { id: 'del', path: 'y' } } });
  });

  test('hub_105 rows outside of the filter are not heard of, and rows that leave it are deleted', async (t) => {
    const [user, other] = [await frontend(t, server), await frontend(t, server)];
    const feed = await user.feed({ file_use: [{ id: null, path: 'mine' }] });
    await feed.next();
    const set = (id, path) => other.query({ file_use: { id, path } });
    await set('far', 'theirs');
    await set('near', 'mine');
    await set('near', 'theirs');
    await set('far', 'mine');
    const near = { id: 'near', path: 'mine' };
    assert.deepEqual(await feed.next(), { update: { action: 'insert', new_val: near } });
    assert.deepEqual(await feed.next(), { update: { action: 'delete', old_val: { id: 'near' } } });
    assert.deepEqual(await feed.next(), { update: { action: 'insert', new_val: { id: 'far', path: 'mine' } } });
  });

  test('hub_106 a setting is seen under either name', async (t) => {
    const [user, other] = [await frontend(t, server), await frontend(t, server)];
    const feeds = [];
    for (const table of ['site_settings', 'server_settings']) {
      feeds.push(await user.feed({ [table]: [{ name: 'imprint', value: null }] }));
      assert.deepEqual(await feeds.at(-1).rows(table), []);
    }
    await other.query({ site_settings: { name: 'imprint', value: 'us' } });
    for (const feed of feeds) {
      const new_val = { name: 'imprint', value: 'us' };
      assert.deepEqual(await feed.next(), { update: { action: 'insert', new_val } });
    }
  });

  test('persist_120 refusals: a project, a bad account, a second message; and the server closes', async (t) => {
    const user = await frontend(t, server);
    const project = await connect(t, server, { cookie: projectCookie(PROJECT, SECRET) });
    const feed = new Feed(project, `changefeeds.project-${PROJECT}`);
    await project.subscribe(feed.inbox, '0', (message) => feed.deliver(message));
    await feed.connect();
    assert.match((await feed.next()).error, /only accounts/);
    await within(SOON, feed.closed, 'end of the project’s socket');
    const bad = await user.socket('undefined');
    assert.match((await bad.next()).error, /invalid account_id/);
    await within(SOON, bad.closed, 'end of the bad account’s socket');
    const twice = await user.feed({ news: [{ id: null }] });
    await twice.next();
    twice.write({ query: { news: [{ id: null }] } });
    assert.match((await twice.next()).error, /exactly one query per connection/);
    await within(SOON, twice.closed, 'end of the socket with two queries');
  });
});

test('hub_102 and after a set by another client a message comes', async (t) => {
  const [user, other] = await fresh(t);
  const feed = await user.feed({ accounts: [{ account_id: null, first_name: null }] });
  assert.deepEqual(await feed.rows('accounts'), [{ account_id: ACCOUNT, first_name: '' }]);
  await other.query({ accounts: { first_name: 'Grace' } });
  assert.equal((await feed.next()).update.new_val.first_name, 'Grace');
  // One's own feeds hear of it as well.
  await user.query({ accounts: { first_name: 'Ada' } });
  assert.equal((await feed.next()).update.new_val.first_name, 'Ada');
});

test('hub_103 a change has an action, the requested fields only, and defaults', async (t) => {
  const [user, other] = await fresh(t);
  const feed = await user.feed({ accounts: [{ account_id: null, first_name: null, editor_settings: null }] });
  const [first] = await feed.rows('accounts');
  await other.query({ accounts: { editor_settings: { theme: 'monokai' }, last_name: 'L' } });
  const { update } = await feed.next();
  assert.equal(update.action, 'update');
  assert.deepEqual(update.new_val, { ...first, editor_settings: { ...first.editor_settings, theme: 'monokai' } });
});

test('changes come in the order of the writes, without a gap', async (t) => {
  const [user, other] = await fresh(t);
  const writes = (async () => {
    for (let n = 0; n < 200; n++) await other.query({ project_log: { id: 'one', event: { n } } });
  })();
  const feed = await user.feed({ project_log: [{ id: 'one', event: null }] });
  let last = (await feed.rows('project_log'))[0]?.event.n ?? -1;
  while (last < 199) {
    const { n } = (await feed.next()).update.new_val.event;
    assert.equal(n, last + 1);
    last = n;
  }
  await writes;
});

test('hub_107 closing a feed frees its place: 1000 can be opened twice', async (t) => {
  const server = await startHub(t);
  const user = await frontend(t, server);
  const query = { projects: [{ project_id: null, title: null }] };
  const openAll = async () => {
    const feeds = [];
    while (feeds.length < LIMIT) {
      feeds.push(...(await Promise.all(Array.from({ length: 100 }, () => user.feed(query)))));
    }
    for (const feed of feeds) assert.equal((await feed.rows('projects')).length, 1);
    return feeds;
  };
  const feeds = await openAll();
  await Promise.all(feeds.map((feed) => feed.close()));
  const again = await openAll();
  await user.query({ projects: { title: 'for all' } });
  for (const feed of again) assert.equal((await feed.next()).update.new_val.title, 'for all');
});

test('hub_108 the first feed beyond the limit gets code 429', async (t) => {
  const server = await startHub(t);
  const user = await frontend(t, server);
  for (let opened = 0; opened < LIMIT; opened += 100) {
    await Promise.all(Array.from({ length: 100 }, () => user.socket()));
  }
  const one = await user.socket();
  assert.equal((await one.next()).code, 429);
});

test('persist_119 first the whole result, then actions', async (t) => {
  const [user, other] = await fresh(t);
  const feed = await user.feed({ project_log: [{ id: null, event: null }] });
  assert.deepEqual(await feed.next(), { update: { project_log: [] } });
  const write = (event) => other.query({ project_log: { id: 'i', event } });
  await write({ a: 1 });
  assert.deepEqual(await feed.next(), { update: { action: 'insert', new_val: { id: 'i', event: { a: 1 } } } });
  await write({ b: 2 });
  assert.deepEqual(await feed.next(), { update: { action: 'update', new_val: { id: 'i', event: { a: 1, b: 2 } } } });
  await other.query({ project_log: { id: 'i' } }, [{ delete: true }]);
  assert.deepEqual(await feed.next(), { update: { action: 'delete', old_val: { id: 'i' } } });
});
