// The page around the terminal: signing in, what the views show, themes, phones, and that nothing complains.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, describe, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { closeBrowser, connected, metric, newPage, newProfile, workbench } from './support/browser.mjs';
import { attached } from './support/terminal.mjs';

const TOKEN = 'a-token-of-the-e2e-tests';
const LITE = { policy: 'lite', services: 'all' };

after(closeBrowser);

describe('signing in', () => {
  test('the 401 page takes the token, and leads to where one wanted to go', async (t) => {
    const server = await startServer(t, { ...LITE, env: { AUTH_TOKEN: TOKEN } });
    const profile = await newProfile(t);
    const page = await newPage(profile, { expected: /401/ });
    const answer = await page.goto(`${server.url}/`);
    assert.equal(answer.status(), 401);
    const field = page.locator('input:not([type=hidden])').first();
    await field.fill('wrong-token');
    const [refusal] = await Promise.all([
      page.waitForResponse((response) => response.url().includes('wrong-token')),
      field.press('Enter'),
    ]);
    assert.equal(refusal.status(), 401);
    assert.equal(await page.locator('.shell').count(), 0);
    await field.fill(TOKEN);
    await field.press('Enter');
    await connected(page);
    assert.ok(!page.url().includes(TOKEN), 'the token is not left in the address');
    assert.deepEqual(page.complaints, []);
  });

  test('a link with the token signs in', async (t) => {
    const server = await startServer(t, { ...LITE, env: { AUTH_TOKEN: TOKEN } });
    const page = await newPage(await newProfile(t));
    await page.goto(`${server.url}/?auth_token=${TOKEN}`);
    await connected(page);
    assert.match(page.url(), /\/static\/app\.html\?target=/);
    assert.deepEqual(page.complaints, []);
  });

  test('a page whose cookie is gone asks for the token, and comes back to the same view', async (t) => {
    const server = await startServer(t, { ...LITE, env: { AUTH_TOKEN: TOKEN } });
    const profile = await newProfile(t);
    const page = await newPage(profile, { expected: /401|WebSocket|ERR_CONNECTION_REFUSED/ });
    await page.goto(`${workbench(server)}?auth_token=${TOKEN}#/flight`);
    await connected(page);
    await profile.clearCookies();
    await server.restart();
    await page.getByRole('heading', { name: 'Sign in to Outpost' }).waitFor();
    await page.getByText('Signed out', { exact: true }).waitFor();
    await page.getByLabel('Access token').fill(TOKEN);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await connected(page);
    assert.match(page.url(), /#\/flight$/);
    assert.deepEqual(page.complaints, []);
  });
});

describe('the status view', () => {
  test('shows live figures', async (t) => {
    const server = await startServer(t, LITE);
    const profile = await newProfile(t);
    const page = await newPage(profile);
    await page.goto(workbench(server, '?target=projects%2Fx#/status'));
    await connected(page);
    const before = Number(await metric(page, 'connections', (text) => Number(text) >= 1));
    const uptime = await metric(page, 'uptime');
    await metric(page, 'uptime', (text) => text !== uptime);
    await metric(page, 'memory', (text) => /^[\d.]+ MiB$/.test(text));
    await metric(page, 'cpu', (text) => /^[\d.]+ %$/.test(text));
    assert.match(await metric(page, 'version'), /^\d+\.\d+\.\d+/);
    await page.locator('.graph canvas').first().waitFor();

    const other = await newPage(profile);
    await other.goto(workbench(server));
    await connected(other);
    await metric(page, 'connections', (text) => Number(text) === before + 1);
    await other.close();
    await metric(page, 'connections', (text) => Number(text) === before);
    assert.deepEqual(page.complaints, []);
  });

  test('works below a base path', async (t) => {
    const server = await startServer(t, { ...LITE, env: { OUTPOST_BASE_PATH: '/lab/one' } });
    const page = await newPage(await newProfile(t));
    await page.goto(`${server.url}/`);
    await connected(page);
    await metric(page, 'connections', (text) => Number(text) >= 1);
    assert.ok(page.url().startsWith(`${server.url}/static/app.html`));
    assert.deepEqual(page.complaints, []);
  });
});

describe('the tables', () => {
  test('connections lists this page and every other', async (t) => {
    const server = await startServer(t, LITE);
    const profile = await newProfile(t);
    const page = await newPage(profile);
    await page.goto(workbench(server, '#/connections'));
    await page.getByText('this page').waitFor();
    const rows = page.locator('tbody tr');
    const before = await rows.count();
    const other = await newPage(profile);
    await other.goto(workbench(server));
    await connected(other);
    await rows.nth(before).waitFor();
    await page.getByRole('button', { name: 'Subscriptions' }).click();
    await page.locator('th[aria-sort=descending]', { hasText: 'Subscriptions' }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test('the flight recorder fills, filters, pauses, and exports what it shows', async (t) => {
    const server = await startServer(t, LITE);
    const page = await newPage(await newProfile(t));
    await page.goto(workbench(server, '#/terminal/1'));
    await attached(page);
    await page.getByRole('link', { name: 'Flight recorder' }).click();
    await page.locator('.record').first().waitFor();

    await page.getByRole('searchbox').fill('terminal.*.*.server.>');
    await page.getByText(/^\d+ of \d+$/).waitFor();
    const subjects = await page.locator('.record-button').allInnerTexts();
    assert.ok(subjects.length > 0);
    for (const subject of subjects) assert.match(subject, /^terminal\.project-[^.]+\.0\.server\./);

    await page.locator('.record-button').first().click();
    await page.getByText('From', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();

    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Export' }).click(),
    ]);
    const report = JSON.parse(await readFile(await download.path(), 'utf8'));
    assert.equal(report.format, 'outpost-flight-1');
    assert.equal(report.filter, 'terminal.*.*.server.>');
    assert.ok(report.records.every(({ subject }) => subject.startsWith('terminal.')));
    assert.ok(report.records.every(({ bytes, headers }) => bytes > 0 && Array.isArray(headers)));

    await page.getByRole('searchbox').fill('nothing-has-this-name');
    await page.getByText('No record passes the filter.').waitFor();
    assert.deepEqual(page.complaints, []);
  });
});

describe('the frame', () => {
  test('follows the system’s colours until one chooses, and remembers the choice', async (t) => {
    const server = await startServer(t, LITE);
    const page = await newPage(await newProfile(t, { colorScheme: 'dark' }));
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.goto(workbench(server));
    await connected(page);
    const dark = await ground();
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await ground();
    assert.notEqual(dark, light);
    await page.getByRole('button', { name: 'Use dark colours' }).click();
    assert.equal(await ground(), dark);
    await page.reload();
    await connected(page);
    assert.equal(await ground(), dark);
    await page.getByRole('button', { name: 'Use light colours' }).click();
    assert.equal(await ground(), light);
    assert.deepEqual(page.complaints, []);
  });

  test('fits a phone without scrolling sideways, in every view', async (t) => {
    const server = await startServer(t, LITE);
    const page = await newPage(
      await newProfile(t, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }),
    );
    for (const route of ['#/status', '#/connections', '#/flight', '#/terminal/1']) {
      await page.goto(workbench(server, route));
      await connected(page);
      if (route.startsWith('#/terminal')) await attached(page);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `${route} is ${overflow} px too wide`);
    }
    await page.getByRole('toolbar', { name: 'More keys' }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test('can be used with the keyboard alone', async (t) => {
    const server = await startServer(t, LITE);
    const page = await newPage(await newProfile(t));
    await page.goto(workbench(server));
    await connected(page);
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), 'Skip to content');
    await page.getByRole('link', { name: 'Flight recorder' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Flight recorder' }).waitFor();
    assert.equal(await page.locator('[aria-current=page]').innerText(), 'Flight recorder');
    assert.equal(await page.title(), 'Flight recorder · Outpost');
    assert.deepEqual(page.complaints, []);
  });
});
