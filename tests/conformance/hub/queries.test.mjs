// hub.md §18 H: user queries.

import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { frontend, startHub } from '../../support/hub.mjs';
import { ACCOUNT, PROJECT } from '../../support/server.mjs';

/** A server of its own for tests that look at whole tables or change the account. */
async function fresh(t) {
  const server = await startHub(t);
  return { server, user: await frontend(t, server) };
}

describe('a server that many use', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startHub();
  });
  after(() => server?.stop());

  test('hub_080 an array pattern gives an array, an object pattern an object or nothing', async (t) => {
    const user = await frontend(t, server);
    const [list, one] = [
      await user.query({ projects: [{ title: null }] }),
      await user.query({ projects: { title: null } }),
    ];
    assert.deepEqual(list, { projects: [one.projects] });
    assert.deepEqual(await user.query({ news: [{ id: null }] }), { news: [] });
    assert.deepEqual(await user.query({ news: { id: null } }), {});
  });

  test('hub_082 a set without key is refused, naming the table', async (t) => {
    const user = await frontend(t, server);
    for (const [table, pattern] of [
      ['file_use', { path: 'a.md' }],
      ['mentions', { path: 'a.chat', target: ACCOUNT }],
      ['site_settings', { value: 'x' }],
    ]) {
      const message = `set query requires primary key fields for '${table}'`;
      await assert.rejects(user.query({ [table]: pattern }), { message });
    }
  });

  test('hub_085 queries in an array are answered in order, and those before a failure are kept', async (t) => {
    const user = await frontend(t, server);
    const set = (id) => ({ project_log: { id, event: { n: 1 } } });
    const get = (id) => ({ project_log: { id, event: null } });
    const results = await user.query([set('order-a'), get('order-a'), get('order-b'), set('order-b'), get('order-b')]);
    const read = (id) => ({ project_log: { id, event: { n: 1 } } });
    assert.deepEqual(results.slice(1, 3), [read('order-a'), {}]);
    assert.deepEqual(results[4], read('order-b'));
    await assert.rejects(user.query([set('kept'), { nonsense: {} }, set('never')]), /unknown table/);
    assert.deepEqual(await user.query([get('kept'), get('never')]), [read('kept'), {}]);
  });

  test('hub_086 there is nothing in a row but what was asked for and the key', async (t) => {
    const user = await frontend(t, server);
    await user.query({ file_use: { id: 'narrow', path: 'a', users: {}, last_edited: new Date() } });
    assert.deepEqual(await user.query({ file_use: { id: 'narrow', path: null } }), {
      file_use: { id: 'narrow', path: 'a' },
    });
    const { file_use } = await user.query({ file_use: [{ path: 'a' }] });
    assert.deepEqual(file_use, [{ id: 'narrow', path: 'a' }]);
  });

  test('hub_089 a value that is not null filters', async (t) => {
    const user = await frontend(t, server);
    for (const [id, path] of [
      ['filter-1', 'x'],
      ['filter-2', 'y'],
      ['filter-3', 'x'],
    ]) {
      await user.query({ public_paths: { id, path, disabled: false } });
    }
    const { public_paths } = await user.query({ public_paths: [{ id: null, path: 'x' }] });
    assert.deepEqual(public_paths.map(({ id }) => id).sort(), ['filter-1', 'filter-3']);
    assert.deepEqual(await user.query({ public_paths: [{ path: 'z', id: null }] }), { public_paths: [] });
  });

  test('hub_090 placeholders', async (t) => {
    const user = await frontend(t, server);
    const before = Date.now();
    const pattern = { id: 'place', users: { '{account_id}': { edit: '{now}' } }, project_id: '{project_id}' };
    const { file_use } = await user.query({ file_use: pattern });
    assert.equal(file_use.project_id, PROJECT);
    const at = file_use.users[ACCOUNT].edit;
    assert.match(at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(before <= Date.parse(at) && Date.parse(at) <= Date.now());
  });

  test('hub_091 delete gives the old row, and then nothing', async (t) => {
    const user = await frontend(t, server);
    const row = { id: 'gone', project_id: PROJECT, path: 'x' };
    await user.query({ file_use: row });
    const remove = () => user.query({ file_use: { id: 'gone' } }, [{ delete: true }]);
    assert.deepEqual(await remove(), { file_use: row });
    assert.deepEqual(await remove(), { file_use: {} });
  });

  test('hub_092 site_settings and server_settings are one storage', async (t) => {
    const user = await frontend(t, server);
    await user.query({ site_settings: { name: 'help_email', value: 'a@b.c' } });
    const row = { name: 'help_email', value: 'a@b.c' };
    for (const table of ['site_settings', 'server_settings']) {
      assert.deepEqual(await user.query({ [table]: { name: 'help_email', value: null } }), { [table]: row });
    }
  });

  test('hub_093 projects_all is projects', async (t) => {
    const user = await frontend(t, server);
    const pattern = { project_id: null, title: null, state: null, settings: null, users: null };
    const { projects } = await user.query({ projects: [pattern] });
    assert.equal(projects.length, 1);
    assert.deepEqual(await user.query({ projects_all: [pattern] }), { projects_all: projects });
  });

  test('hub_094 mentions that differ in time only are two', async (t) => {
    const user = await frontend(t, server);
    const mention = (time) => ({ time, project_id: PROJECT, path: 'two.chat', target: ACCOUNT, source: ACCOUNT });
    for (const time of [new Date(1765735440000), new Date(1765735441000)]) {
      await user.query({ mentions: mention(time) });
    }
    const { mentions } = await user.query({ mentions: [{ path: 'two.chat', time: null }] });
    assert.deepEqual(mentions.map(({ time }) => time).sort(), ['2025-12-14T18:04:00.000Z', '2025-12-14T18:04:01.000Z']);
  });

  test('hub_095 an unknown table is an error, and malformed queries are', async (t) => {
    const user = await frontend(t, server);
    await assert.rejects(user.query({ passwords: [{ id: null }] }), { message: "unknown table 'passwords'" });
    await assert.rejects(user.query({}), { message: 'invalid query' });
    await assert.rejects(user.query({ accounts: { first_name: null } }, { set: true }), {
      message: 'options must be an array',
    });
    await assert.rejects(user.query({ __proto__: null, accounts: [[]] }), { message: 'invalid query' });
    assert.equal((await user.query({ projects: [{ title: null }] })).projects.length, 1);
  });

  test('hub_096 a date comes back as text with milliseconds', async (t) => {
    const user = await frontend(t, server);
    const time = new Date('2025-12-14T18:03:21Z');
    await user.query({ project_log: { id: 'dated', time, event: { at: time } } });
    assert.deepEqual(await user.query({ project_log: { id: 'dated', time: null, event: null } }), {
      project_log: { id: 'dated', time: '2025-12-14T18:03:21.000Z', event: { at: '2025-12-14T18:03:21.000Z' } },
    });
    const found = await user.query({ project_log: [{ id: null, time }] });
    assert.deepEqual(found.project_log, [{ id: 'dated', time: '2025-12-14T18:03:21.000Z' }]);
  });

  test('what clients may not set is refused', async (t) => {
    const user = await frontend(t, server);
    await assert.rejects(user.query({ accounts: { balance: 1000 } }), /may not be set/);
    await assert.rejects(user.query({ accounts: { nonsense: 1 } }), /unknown field/);
    await assert.rejects(user.query({ site_settings: { name: 'root', value: 'x' } }), /unknown setting/);
    await assert.rejects(user.query({ projects: { project_id: ACCOUNT, title: 'x' } }), /must be your own/);
    await assert.rejects(
      user.query({ accounts: { account_id: ACCOUNT } }, [{ delete: true }, { set: true }]),
      /deleted/,
    );
  });
});

test('hub_078 the gets that are on record', async (t) => {
  const { user } = await fresh(t);
  const gets = [
    [
      { accounts: { account_id: null, email_address: null, first_name: null } },
      { accounts: { account_id: ACCOUNT, email_address: 'user@cocalc.com', first_name: '' } },
    ],
    [
      { accounts: [{ account_id: null, font_size: null, autosave: null }] },
      { accounts: [{ account_id: ACCOUNT, font_size: 14, autosave: 45 }] },
    ],
    [
      { projects: [{ project_id: null, title: null, state: null, users: null, compute_image: null }] },
      {
        projects: [
          {
            project_id: PROJECT,
            title: 'CoCalc Lite',
            state: { state: 'running' },
            users: {},
            compute_image: 'default',
          },
        ],
      },
    ],
    [
      {
        collaborators: [
          { account_id: null, first_name: null, last_name: null, name: null, last_active: null, profile: null },
        ],
      },
      {
        collaborators: [{ account_id: ACCOUNT, first_name: '', last_name: '', profile: { color: 'rgb(170,170,170)' } }],
      },
    ],
    [{ mentions: [{ time: null, project_id: null, path: null, target: null }] }, { mentions: [] }],
    [{ public_paths: { id: 'abc', path: null } }, {}],
  ];
  for (const [query, expected] of gets) assert.deepEqual(await user.query(query), expected);
});

test('hub_079 the sets that are on record', async (t) => {
  const { user } = await fresh(t);
  const row = { account_id: ACCOUNT, email_address: 'user@cocalc.com', first_name: 'Ada' };
  const set = (pattern) => user.query({ accounts: { account_id: ACCOUNT, ...pattern } });
  assert.deepEqual(await set({ first_name: 'Ada', other_settings: { a: 1 } }), {
    accounts: { ...row, other_settings: { a: 1 } },
  });
  assert.deepEqual(await set({ other_settings: { b: { x: 1 } } }), {
    accounts: { ...row, other_settings: { a: 1, b: { x: 1 } } },
  });
  const last = { ...row, other_settings: { a: 1, b: { y: 1 } } };
  assert.deepEqual(await set({ other_settings: { b: { y: 1 } } }), { accounts: last });
  const named = await user.query([{ accounts: { account_id: ACCOUNT, last_name: 'L' } }], [{ set: true }]);
  assert.deepEqual(named, [{ accounts: { ...last, last_name: 'L' } }]);
});

test('hub_081 a set that is said to be one stores null', async (t) => {
  const { user } = await fresh(t);
  await user.query({ accounts: { tags: ['x'] } });
  const set = await user.query([{ accounts: { account_id: ACCOUNT, tags: null } }], [{ set: true }]);
  assert.equal(set[0].accounts.tags, null);
  assert.equal((await user.query({ accounts: { tags: null } })).accounts.tags, null);
});

test('hub_083 the caller’s account need not be named', async (t) => {
  const { user } = await fresh(t);
  const { accounts } = await user.query({ accounts: { first_name: 'X' } });
  assert.equal(accounts.account_id, ACCOUNT);
  assert.deepEqual(await user.query({ accounts: [{ first_name: null }] }), {
    accounts: [{ account_id: ACCOUNT, first_name: 'X' }],
  });
});

test('hub_084 a log entry gets the caller’s account', async (t) => {
  const { user } = await fresh(t);
  const entry = { id: 'e', project_id: PROJECT, time: new Date(), event: { event: 'open', filename: 'a.md' } };
  await user.query({ project_log: entry });
  await user.query({ project_log: { id: 'e', project_id: PROJECT, event: { time: 1268 } } });
  const { project_log } = await user.query({ project_log: { id: 'e', account_id: null, event: null } });
  assert.equal(project_log.account_id, ACCOUNT);
  assert.deepEqual(project_log.event, { event: 'open', filename: 'a.md', time: 1268 });
});

test('hub_087 defaults fill what is missing', async (t) => {
  const { user } = await fresh(t);
  await user.query({ accounts: { editor_settings: { theme: 'monokai' }, other_settings: { dark_mode: true } } });
  const { accounts } = await user.query({
    accounts: { editor_settings: null, other_settings: null, terminal: null, evaluate_key: null, ssh_keys: null },
  });
  const { editor_settings, other_settings } = accounts;
  assert.deepEqual(
    [editor_settings.theme, editor_settings.tab_size, editor_settings.line_numbers],
    ['monokai', 4, true],
  );
  assert.deepEqual([other_settings.dark_mode, other_settings.page_size, other_settings.i18n], [true, 500, 'en']);
  assert.deepEqual(accounts.terminal, { font_size: 14, color_scheme: 'default', font: 'monospace' });
  assert.deepEqual([accounts.evaluate_key, accounts.ssh_keys], ['Shift-Enter', {}]);
});

test('hub_088 false, 0 and the empty text are values', async (t) => {
  const { user } = await fresh(t);
  const values = { unlisted: false, autosave: 0, evaluate_key: '', other_settings: { katex: false, page_size: 0 } };
  await user.query({ accounts: values });
  const { accounts } = await user.query({
    accounts: { unlisted: null, autosave: null, evaluate_key: null, other_settings: null },
  });
  assert.deepEqual([accounts.unlisted, accounts.autosave, accounts.evaluate_key], [false, 0, '']);
  assert.deepEqual([accounts.other_settings.katex, accounts.other_settings.page_size], [false, 0]);
});

test('hub_097 null in a map removes the key', async (t) => {
  const { user } = await fresh(t);
  await user.query({ accounts: { ssh_keys: { fp: { value: 'k' }, other: { value: 'o' } } } });
  await user.query({ accounts: { ssh_keys: { fp: null } } }, [{ set: true }]);
  assert.deepEqual((await user.query({ accounts: { ssh_keys: null } })).accounts.ssh_keys, { other: { value: 'o' } });
});

test('marks of one account on a file add up', async (t) => {
  const { user } = await fresh(t);
  const mark = (action, at) => ({
    file_use: { id: 'f', project_id: PROJECT, path: 'a', users: { [ACCOUNT]: { [action]: at } } },
  });
  await user.query(mark('open', '1'));
  const { file_use } = await user.query(mark('edit', '2'));
  assert.deepEqual(file_use.users, { [ACCOUNT]: { open: '1', edit: '2' } });
});

test('hub_098 rows survive kill -9 right after the answer', async (t) => {
  const { server, user } = await fresh(t);
  await user.query({ accounts: { first_name: 'Kept' } });
  await Promise.all(
    Array.from({ length: 50 }, (_, n) => user.query({ project_log: { id: `row ${n}`, event: { n } } })),
  );
  await server.restart();
  const again = await frontend(t, server);
  assert.equal((await again.query({ accounts: { first_name: null } })).accounts.first_name, 'Kept');
  const { project_log } = await again.query({ project_log: [{ id: null, event: null }] });
  assert.deepEqual(
    project_log.map(({ event }) => event.n).sort((a, b) => a - b),
    [...Array(50).keys()],
  );
  assert.equal((await stat(join(server.data, 'hub.db'))).mode & 0o777, 0o600);
});
