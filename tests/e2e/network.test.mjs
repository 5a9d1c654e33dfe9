// The network fails and comes back: the page says so, finds its way, and nothing of a terminal is lost.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { closeBrowser, connected, metric, newPage, newProfile } from './support/browser.mjs';
import { Proxy } from './support/proxy.mjs';
import { ask, attached, screenShows, typeLine } from './support/terminal.mjs';

/** A browser reports each failed connection by itself; those complaints are what the tests are about. */
const BROKEN_NETWORK = /WebSocket|ERR_(CONNECTION|EMPTY|SOCKET|TIMED)/;

after(closeBrowser);

async function through(t, route, env = {}) {
  const server = await startServer(t, { policy: 'lite', services: 'all', env });
  const proxy = await Proxy.start(t, server.port);
  const page = await newPage(await newProfile(t), { expected: BROKEN_NETWORK });
  await page.goto(`${proxy.url}/static/app.html${route}`);
  await connected(page);
  return { server, proxy, page };
}

/** While nothing gets through, the page is connecting or waiting; how long each lasts is chance. */
const noLongerConnected = (page) => page.locator('.connection:not([data-phase=connected])').waitFor();

describe('a network that is cut', () => {
  test('is shown, counted down, and can be retried at once', async (t) => {
    const { proxy, page } = await through(t, '#/status');
    await metric(page, 'connections');
    proxy.cut();
    await page.getByText('Reconnecting', { exact: true }).waitFor();
    await page.getByText(/^in \d+ s$/).waitFor();
    // Long enough for the back-off to be longer than the test's patience would be without the button.
    await page.getByText(/^in ([4-9]|1\d) s$/).waitFor();
    proxy.mend();
    await page.getByRole('button', { name: 'Retry now' }).click();
    await connected(page);
    const uptime = await metric(page, 'uptime');
    await metric(page, 'uptime', (text) => text !== uptime);
    assert.deepEqual(page.complaints, []);
  });

  test('costs a terminal nothing: what ran meanwhile is on the screen', async (t) => {
    const { proxy, page } = await through(t, '#/terminal/1');
    await attached(page);
    const pid = await ask(page, 'echo $$');
    await typeLine(page, 'while [ ! -e go ]; do :; done; echo meanwhile-$((40+2))');
    await typeLine(page, 'echo q""ueued');
    proxy.cut();
    await page.locator('.connection[data-phase=waiting]').waitFor();
    await page.locator('[data-session=detached], [data-session=attaching]').waitFor();
    await page.keyboard.type('\x03');
    proxy.mend();
    await connected(page);
    await attached(page);
    // Ctrl-C was typed while there was no connection, and reaches the same program afterwards.
    await screenShows(page, /\^C/);
    assert.equal(await ask(page, 'echo $$'), pid);
    assert.deepEqual(page.complaints, []);
  });
});

describe('a network that goes silent', () => {
  test('is noticed by the missing heartbeat', async (t) => {
    const { proxy, page } = await through(t, '#/status', { OUTPOST_PING_INTERVAL: '1s', OUTPOST_PING_TIMEOUT: '1s' });
    proxy.freeze();
    await noLongerConnected(page);
    proxy.mend();
    await connected(page);
    assert.deepEqual(page.complaints, []);
  });

  test('is noticed sooner where a terminal is open', async (t) => {
    const { proxy, page } = await through(t, '#/terminal/1');
    await attached(page);
    const pid = await ask(page, 'echo $$');
    proxy.freeze();
    await noLongerConnected(page);
    await page.locator('[data-session=detached], [data-session=attaching]').waitFor();
    proxy.mend();
    await connected(page);
    await attached(page);
    assert.equal(await ask(page, 'echo $$'), pid);
    assert.deepEqual(page.complaints, []);
  });

  test('is noticed at once when the browser hears that it is back online', async (t) => {
    const { proxy, page } = await through(t, '#/status');
    proxy.freeze();
    proxy.mend();
    // The old connection stays dead: only an unanswered question can tell.
    const next = page.waitForEvent('websocket');
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    await next;
    await connected(page);
    assert.deepEqual(page.complaints, []);
  });
});

describe('a server that is restarted', () => {
  test('finds the page again, with a fresh shell', async (t) => {
    const { server, page } = await through(t, '#/terminal/1');
    await attached(page);
    const pid = await ask(page, 'echo $$');
    const { port } = server;
    await server.kill();
    await noLongerConnected(page);
    await server.launch(port);
    await connected(page);
    await attached(page);
    assert.notEqual(await ask(page, 'echo $$'), pid);
    assert.deepEqual(page.complaints, []);
  });
});
