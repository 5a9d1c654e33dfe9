// hub.md §18 D, as far as the configuration document is concerned: what it says and what it never says.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { frontend, startHub } from '../../support/hub.mjs';
import { ACCOUNT, PROJECT, startServer } from '../../support/server.mjs';

async function customize(server) {
  const answer = await server.fetch('/customize');
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('content-type'), /^application\/json/);
  return answer.json();
}

describe('the configuration document', { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await startHub();
  });
  after(() => server?.stop());

  test('hub_001 without identity variables it names the default account and project', async () => {
    const { configuration } = await customize(server);
    assert.equal(configuration.account_id, ACCOUNT);
    assert.equal(configuration.project_id, PROJECT);
  });

  test('hub_036 it has six fields and says lite', async () => {
    const document = await customize(server);
    const fields = ['configuration', 'custom_openai', 'ollama', 'registration', 'software', 'strategies'];
    assert.deepEqual(Object.keys(document).sort(), fields);
    assert.equal(document.configuration.lite, true);
  });

  test('hub_037 remote_sync is a boolean and compute_server_id an integer', async () => {
    const { configuration } = await customize(server);
    assert.equal(configuration.remote_sync, false);
    assert.equal(configuration.compute_server_id, 0);
  });
});

test('another frontend learns its account from a cookie that scripts can read', async (t) => {
  const page = await mkdtemp(join(tmpdir(), 'outpost-test-'));
  t.after(() => rm(page, { recursive: true, force: true }));
  await writeFile(join(page, 'app.html'), '<!doctype html>');
  const server = await startHub(t, { env: { OUTPOST_STATIC: page } });
  for (const path of ['/customize', '/static/app.html']) {
    const cookie = (await server.fetch(path)).headers.get('set-cookie');
    assert.equal(cookie, `account_id=${ACCOUNT}; Path=/; SameSite=Lax`, path);
  }
});

test('hub_038 a setting that is saved shows at once, and after a restart', async (t) => {
  const server = await startHub(t);
  const user = await frontend(t, server);
  assert.equal((await customize(server)).configuration.openai_enabled, false);
  const set = (name, value) => user.query({ site_settings: { name, value } });
  assert.deepEqual(await set('openai_enabled', 'yes'), { site_settings: { name: 'openai_enabled', value: 'yes' } });
  assert.equal((await customize(server)).configuration.openai_enabled, true);
  await set('site_name', 'Ours');
  await server.restart();
  const { configuration } = await customize(server);
  assert.equal(configuration.openai_enabled, true);
  assert.equal(configuration.site_name, 'Ours');
});

test('hub_039 no key is ever in it', async (t) => {
  const server = await startHub(t);
  const user = await frontend(t, server);
  const secrets = [
    'openai_api_key',
    'google_vertexai_key',
    'mistral_api_key',
    'anthropic_api_key',
    'email_smtp_password',
  ];
  for (const name of secrets) await user.query({ site_settings: { name, value: `sk-${name}` } });
  const ollama = JSON.stringify({ m: { baseUrl: 'http://sk-host', apiKey: 'sk-ollama' } });
  await user.query({ site_settings: { name: 'ollama_configuration', value: ollama } });
  const document = await customize(server);
  assert.ok(!JSON.stringify(document).includes('sk-'));
  assert.deepEqual(document.ollama, { m: { model: 'm', display: 'm' } });
  for (const name of [...secrets, 'ollama_configuration']) assert.ok(!(name in document.configuration), name);
  // The dialog that writes them gets them back.
  const { site_settings } = await user.query({ site_settings: [{ name: null, value: null }] });
  assert.equal(site_settings.length, secrets.length + 1);
});

test('hub_040 the default model is one that can be selected, of a vendor that is on', async (t) => {
  const server = await startHub(t);
  const user = await frontend(t, server);
  const vendors = { mistral: /^mistral-/, anthropic: /^claude-/, openai: /^gpt-/, google_vertexai: /^gemini-/ };
  for (const [vendor, expected] of Object.entries(vendors)) {
    await user.query({ site_settings: { name: `${vendor}_enabled`, value: 'yes' } });
    const { configuration } = await customize(server);
    assert.match(configuration.default_llm, expected, vendor);
    assert.ok(configuration.selectable_llms.includes(configuration.default_llm), vendor);
  }
});

test('without a hub the document is that of a fresh server', async (t) => {
  const server = await startServer(t);
  assert.equal((await customize(server)).configuration.site_name, 'Open CoCalc');
});
