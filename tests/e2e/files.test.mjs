// What others made and left on the server, in a real browser: it never runs as a part of our own page.

import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { form, post } from '../support/forms.mjs';
import { PROJECT, startServer } from '../support/server.mjs';
import { closeBrowser, newProfile } from './support/browser.mjs';

after(closeBrowser);

/** Takes what a script of ours could take, and says what it got. */
const THIEF = `
const got = {};
try { got.cookie = document.cookie; } catch (error) { got.cookie = error.name; }
try { localStorage.x = 1; got.storage = true; } catch (error) { got.storage = error.name; }
const form = new FormData();
form.append('file', new Blob(['stolen']), 'stolen.txt');
Promise.allSettled([
  fetch('/${PROJECT}/files/secret.txt').then((answer) => answer.text()),
  fetch('/upload', { method: 'POST', body: form }).then((answer) => answer.status),
  new Promise((resolve, reject) => {
    const socket = new WebSocket(location.href.replace(/^http/, 'ws').replace(/[/]${PROJECT}.*|[/]blobs.*/, '/conat/?EIO=4&transport=websocket'));
    socket.onmessage = ({ data }) => {
      if (String(data).startsWith('0')) socket.send('40');
      const [, json] = /^42\\d*(.*)/.exec(data) ?? [];
      if (json) resolve(JSON.parse(json));
    };
    socket.onerror = () => reject(new Error('refused'));
  }),
]).then((results) => {
  got.results = results.map(({ value }) => value ?? null);
  got.origin = self.origin;
  document.documentElement.dataset.got = JSON.stringify(got);
});`;

for (const token of [undefined, 'a-token-of-the-e2e-tests']) {
  const how = token ? 'with a token' : 'without a token';

  test(`hub_060 a page among the files has no access to what is ours, ${how}`, async (t) => {
    const env = token ? { AUTH_TOKEN: token } : {};
    const server = await startServer(t, { policy: 'lite', services: 'all', env });
    await writeFile(join(server.home, 'secret.txt'), 'secret');
    await writeFile(join(server.home, 'page.html'), `<h1>A page</h1><script>${THIEF}</script>`);
    const page = await (await newProfile(t)).newPage();
    if (token) await page.goto(`${server.url}/?auth_token=${token}`);
    const answer = await page.goto(`${server.url}/${PROJECT}/files/page.html`);
    assert.equal(answer.status(), 200);
    await page.getByRole('heading', { name: 'A page' }).waitFor();
    const got = JSON.parse(await page.locator('html[data-got]').getAttribute('data-got'));
    const [file, upload, info] = got.results;
    assert.deepEqual([got.cookie, got.storage, got.origin], ['SecurityError', 'SecurityError', 'null']);
    assert.deepEqual([file, upload], [null, null]);
    // With a token anybody may connect, but this page without the cookie: as nobody.
    if (token) assert.match(info[1].user.error, /not signed in/);
    else assert.equal(info, null);
    await assert.rejects(stat(join(server.home, 'stolen.txt')));
  });
}

test('hub_055 active blobs and files are saved, not shown', async (t) => {
  const server = await startServer(t, { policy: 'lite', services: 'all' });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg"><script>${THIEF.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</script></svg>`;
  const html = `<script>${THIEF}</script>`;
  await writeFile(join(server.home, 'x.svg'), svg);
  const places = [`/${PROJECT}/files/x.svg`];
  for (const [name, content] of [
    ['x.svg', svg],
    ['x.html', html],
    ['x.xhtml', svg],
  ]) {
    const { uuid } = await (await post(server, '/blobs', form(content))).json();
    places.push(`/blobs/${name}?uuid=${uuid}`);
  }
  const page = await (await newProfile(t)).newPage();
  for (const place of places) {
    const saved = page.waitForEvent('download');
    await page
      .goto(server.url + place)
      .catch((error) => assert.match(error.message, /Download is starting|ERR_ABORTED/));
    assert.match((await saved).suggestedFilename(), /^x\./, place);
    assert.equal(page.url(), 'about:blank');
  }
  const png = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
    'base64',
  );
  const { uuid } = await (await post(server, '/blobs', form(png))).json();
  await page.goto(`${server.url}/static/app.html`);
  const width = await page.evaluate(async (source) => {
    const image = new Image();
    image.src = source;
    await image.decode();
    return image.naturalWidth;
  }, `/blobs/paste.png?uuid=${uuid}`);
  assert.equal(width, 1);
});
