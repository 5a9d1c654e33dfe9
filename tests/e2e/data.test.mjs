// The data view: what the server keeps is found, read, followed and deleted, with the mouse and without.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, describe, test } from 'node:test';
import { decode } from '@msgpack/msgpack';
import { connect } from '../support/client.mjs';
import { operation } from '../support/persist.mjs';
import { until } from '../support/wait.mjs';
import { closeBrowser, connected, workbench } from './support/browser.mjs';
import { accountStream, dataPage, dataServer, focused, pathOf, placeOf, rowOf } from './support/data.mjs';

after(closeBrowser);

describe('the list of streams', () => {
  test('is paged, sorted and filtered, and every row can be reached with the keyboard', async (t) => {
    const { server, stream } = await dataServer(t);
    for (let index = 0; index < 55; index++) {
      const made = await stream(`list-${String(index).padStart(2, '0')}`);
      await made.setMany(Array.from({ length: index === 7 ? 90 : 1 }, () => operation('x'.repeat(index))));
      await made.close();
    }
    const page = await dataPage(t, server, '#/data');
    await page.getByText(/^1–50 of \d+$/).waitFor();
    assert.equal(await page.locator('[data-row]').count(), 50);
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText(/^51–\d+ of \d+$/).waitFor();

    await page.getByRole('button', { name: 'Messages', exact: true }).click();
    await page.locator('th[aria-sort=descending]', { hasText: 'Messages' }).waitFor();
    await until(
      async () => (await page.locator('[data-row]').first().getAttribute('title')) === pathOf('list-07'),
      'the largest',
    );

    await page.keyboard.press('/');
    await page.keyboard.type('LIST-1');
    await page.getByText('10 streams with this in their path').waitFor();
    await page.getByRole('button', { name: 'Path', exact: true }).click();
    await until(
      async () => (await page.locator('[data-row]').first().getAttribute('title')) === pathOf('list-10'),
      'by path',
    );
    await page.keyboard.press('/');
    await page.keyboard.press('ArrowDown');
    assert.equal(await focused(page), pathOf('list-10'));
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('End');
    assert.equal(await focused(page), pathOf('list-19'));
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: pathOf('list-18') }).waitFor();
    assert.ok(page.url().endsWith(placeOf('list-18')));
    assert.equal(await page.title(), `Data ${pathOf('list-18')} · Outpost`);
    await page.keyboard.press('Escape');
    await until(async () => (await focused(page)) === pathOf('list-18'), 'the focus where it was');
    assert.equal(await page.getByRole('searchbox').inputValue(), 'LIST-1');

    await page.getByRole('searchbox').fill('nothing has this name');
    await page.getByText('No path has this in it.').waitFor();
    await page.getByRole('button', { name: 'Show all' }).click();
    await page.getByText(/^1–50 of \d+$/).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test('grows while one looks at it', async (t) => {
    const { server, stream } = await dataServer(t);
    const page = await dataPage(t, server, '#/data');
    await page.getByRole('heading', { name: 'Streams and stores' }).waitFor();
    await (await stream('later')).set('x');
    await rowOf(page, pathOf('later')).waitFor();
    assert.deepEqual(page.complaints, []);
  });
});

describe('a message', () => {
  const VALUE = {
    name: 'Ada',
    when: new Date(0),
    list: [1, [2, 3]],
    bytes: new Uint8Array([1, 2, 255]),
    text: `${'a long text '.repeat(20)}\nwith two lines`,
  };

  test('is read as a tree with the arrow keys, and as bytes', async (t) => {
    const { server, stream } = await dataServer(t);
    const store = await stream('store');
    await store.set(VALUE, { key: 'first', headers: { who: 'me' } });
    await store.set(null, { key: 'second', headers: { 'CN-Tombstone': true } });
    const page = await dataPage(t, server, placeOf('store'));
    await rowOf(page, 2).waitFor();
    await page.getByText('tombstone', { exact: true }).waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    assert.equal(await focused(page), 'Message 1');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Message 1' }).waitFor();
    assert.ok(page.url().endsWith(placeOf('store', 1)));
    await page.getByRole('tree', { name: 'Headers' }).getByText('"me"').waitFor();

    const tree = page.getByRole('tree', { name: 'Value' });
    const item = (label) => tree.getByRole('treeitem').filter({ hasText: label });
    await item('1970-01-01T00:00:00.000Z').waitFor();
    await item('3 B binary').waitFor();
    await tree.getByRole('treeitem').first().focus();
    await page.keyboard.press('End');
    await page.keyboard.press('ArrowRight');
    await tree.locator('[data-kind=block]', { hasText: 'with two lines' }).waitFor();
    await page.keyboard.press('ArrowLeft');
    await until(async () => (await tree.locator('[data-kind=block]').count()) === 0, 'the text is closed');
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowLeft');
    await until(async () => (await tree.getByRole('treeitem').count()) === 1, 'the root is closed');
    assert.equal(await tree.getByRole('treeitem').getAttribute('aria-expanded'), 'false');

    await page.getByRole('tab', { name: 'Tree' }).focus();
    await page.keyboard.press('ArrowRight');
    const hex = page.getByRole('region', { name: /^Bytes/ });
    await hex.getByText('00000000').waitFor();
    // A map of five, and the first of its keys.
    assert.match(await hex.innerText(), /^00000000\s+85 a4 6e 61 {2}6d 65 a3 41/);

    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Save' }).click(),
    ]);
    assert.equal(download.suggestedFilename(), 'store-1.msgpack');
    assert.deepEqual(decode(new Uint8Array(await readFile(await download.path()))), VALUE);
    await page.keyboard.press('Escape');
    await until(async () => (await focused(page)) === 'Message 1', 'the focus is in the list again');
    assert.deepEqual(page.complaints, []);
  });

  test('has an address that survives a reload, and one that is gone says so', async (t) => {
    const { server, stream } = await dataServer(t);
    const name = 'odd name: "é" {1}/2%';
    await (await stream(name)).set({ hello: 'there' });
    const page = await dataPage(t, server, placeOf(name, 1));
    await page.getByRole('tree', { name: 'Value' }).getByText('"there"').waitFor();
    await page.reload();
    await page.getByRole('tree', { name: 'Value' }).getByText('"there"').waitFor();
    await page.goto(workbench(server, placeOf(name, 99)));
    await page.getByText('This message is not there any more.').waitFor();
    await page.goto(workbench(server, placeOf('no such stream')));
    await page.getByText(/there is no such stream/).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test('that is large comes in parts when asked for', async (t) => {
    const { server, stream } = await dataServer(t);
    const large = { bytes: new Uint8Array(2_500_000).fill(7), end: 'the very end' };
    await (await stream('large')).set(large);
    const page = await dataPage(t, server, placeOf('large', 1));
    await page.getByText('256 KiB of 2.38 MiB are here.').waitFor();
    await page.getByRole('button', { name: 'Load all of it' }).click();
    await page.getByRole('tree', { name: 'Value' }).getByText('"the very end"').waitFor();
    await page.getByRole('tab', { name: 'Hex' }).click();
    const hex = page.getByRole('region', { name: /^Bytes/ });
    await hex.evaluate((element) => element.scrollTo(0, element.scrollHeight));
    const offset = hex.locator('.hex-offset').last();
    await until(async () => Number.parseInt(await offset.innerText(), 16) > 2_499_900, 'the last line');
    assert.ok((await hex.locator('.hex-line').count()) < 200, 'only what is in sight is in the page');
    assert.deepEqual(page.complaints, []);
  });

  test('is deleted after a question, with the keyboard', async (t) => {
    const { server, stream } = await dataServer(t);
    const made = await stream('gone');
    for (const value of ['one', 'two', 'three']) await made.set(value);
    const page = await dataPage(t, server, placeOf('gone'));
    await rowOf(page, 2).waitFor();
    await rowOf(page, 2).focus();
    await page.keyboard.press('Delete');
    await page.getByRole('heading', { name: 'Delete message 2?' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    await rowOf(page, 2).focus();
    await page.keyboard.press('Delete');
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await rowOf(page, 2).waitFor({ state: 'detached' });
    assert.deepEqual(await made.contents(), ['one', 'three']);
    assert.deepEqual(page.complaints, []);
  });
});

describe('a stream that is followed', () => {
  test('shows what is written and deleted, and goes on after the server was away', async (t) => {
    const { server, stream } = await dataServer(t);
    const made = await stream('live');
    await made.set({ n: 'before' });
    const page = await dataPage(t, server, placeOf('live'), { expected: /WebSocket|ERR_/ });
    await page.getByRole('button', { name: 'Follow live' }).click();
    await page.getByText('Live: new messages appear on top.').waitFor();
    await rowOf(page, 1).waitFor();
    await made.set({ n: 'while one looks' });
    await page.getByText('while one looks').waitFor();
    assert.equal(await page.locator('[data-row]').first().getAttribute('data-row'), '2');
    await made.delete({ seq: 1 });
    await page.locator('tr[data-deleted=true]').waitFor();

    await server.restart();
    const client = await connect(t, server);
    const again = await accountStream(client, 'live');
    await again.set({ n: 'meanwhile' });
    await page.getByText('Live: new messages appear on top.').waitFor();
    await page.getByText('meanwhile').waitFor();
    await page.getByText('while one looks').waitFor();
    await again.set({ n: 'afterwards' });
    await page.getByText('afterwards').waitFor();
    assert.ok(page.url().endsWith(placeOf('live')));
    assert.deepEqual(page.complaints, []);
  });

  test('says how many were left out when they come too fast', async (t) => {
    const { server, stream } = await dataServer(t);
    const made = await stream('fast');
    const page = await dataPage(t, server, placeOf('fast'), { expected: /\b404\b/ });
    await made.set('first');
    await page.getByRole('button', { name: 'Follow live' }).click();
    await page.getByText('Live: new messages appear on top.').waitFor();
    await made.setMany(Array.from({ length: 3000 }, (_, index) => operation(index)));
    await rowOf(page, 3001).waitFor();
    await page
      .getByText(/left out/)
      .first()
      .waitFor();
    assert.ok((await page.locator('[data-row]').count()) <= 500);
    assert.deepEqual(page.complaints, []);
  });
});

describe('blobs', () => {
  // The smallest picture.
  const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

  /** Drops files on the page as a person does. */
  const drop = (page, files) =>
    page.evaluate((list) => {
      const dataTransfer = new DataTransfer();
      for (const { name, base64, size } of list) {
        const bytes = base64 ? Uint8Array.from(atob(base64), (it) => it.charCodeAt(0)) : new Uint8Array(size).fill(9);
        dataTransfer.items.add(new File([bytes], name));
      }
      const zone = document.querySelector('.drop-zone');
      for (const type of ['dragenter', 'dragover', 'drop']) {
        zone.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
      }
    }, files);

  test('are uploaded by dropping them, served, and deleted', async (t) => {
    const { server } = await dataServer(t);
    const page = await dataPage(t, server, '#/data/blobs');
    await page.getByText('There are no blobs yet.').waitFor();
    await drop(page, [{ name: 'a dot.png', base64: PNG }]);
    const uploads = page.getByRole('list', { name: 'Uploads' });
    await uploads.locator('li[data-state=done]').waitFor();
    await page.getByText('1 blob', { exact: true }).waitFor();
    await page.getByText('PNG image').waitFor();
    const uuid = await page.locator('[data-row]').getAttribute('data-row');
    const served = await server.fetch(`/blobs/x.png?uuid=${uuid}`);
    assert.equal(Buffer.from(await served.arrayBuffer()).toString('base64'), PNG);
    const picture = page.locator('.blob-name img');
    await until(() => picture.evaluate(({ naturalWidth }) => naturalWidth === 1), 'the picture');

    await page.locator('[data-row]').focus();
    await page.keyboard.press('Delete');
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByText('There are no blobs yet.').waitFor();
    assert.equal((await server.fetch(`/blobs/x.png?uuid=${uuid}`)).status, 404);
    assert.deepEqual(page.complaints, []);
  });

  test('that are large arrive whole, and those that are too large are refused in words', async (t) => {
    const { server } = await dataServer(t);
    const page = await dataPage(t, server, '#/data/blobs');
    await page.getByText('There are no blobs yet.').waitFor();
    await drop(page, [
      { name: 'whole.bin', size: 17_000_000 },
      { name: 'huge.bin', size: 25_000_001 },
    ]);
    const uploads = page.getByRole('list', { name: 'Uploads' });
    await uploads.getByText('The file is too large: at most 25 MB are stored.').waitFor();
    await uploads.locator('li[data-state=done]').waitFor();
    const uuid = await page.locator('[data-row]').getAttribute('data-row');
    const served = await server.fetch(`/blobs/whole.bin?uuid=${uuid}`);
    assert.equal((await served.arrayBuffer()).byteLength, 17_000_000);
    assert.equal(await page.locator('[data-row]').count(), 1);
    assert.deepEqual(page.complaints, []);
  });
});

describe('settings', () => {
  const configuration = async (server) => (await (await server.fetch('/customize')).json()).configuration;

  test('are saved one by one, and hold at once', async (t) => {
    const { server } = await dataServer(t);
    const page = await dataPage(t, server, '#/data/settings');
    await page.getByLabel('Name', { exact: true }).fill('Lab in the attic');
    await page.keyboard.press('Tab');
    await page.getByText('Saved', { exact: true }).waitFor();
    assert.equal((await configuration(server)).site_name, 'Lab in the attic');

    await page.getByLabel('Anthropic API key', { exact: true }).fill('sk-secret');
    await page.keyboard.press('Enter');
    await until(async () => (await configuration(server)).anthropic_enabled === true, 'the vendor is offered');
    assert.equal(await page.getByLabel('Anthropic API key', { exact: true }).getAttribute('type'), 'password');
    assert.ok(!JSON.stringify(await configuration(server)).includes('sk-secret'));
    await until(() => page.getByLabel('Offer Anthropic’s models').isChecked(), 'the switch follows');

    await page.keyboard.press('Escape');
    await page.getByRole('searchbox', { name: 'Search settings' }).fill('smtp port');
    const port = page.getByLabel('Email SMTP port', { exact: true });
    await port.fill('many');
    await page.keyboard.press('Enter');
    await page.getByText('This must be a whole number.').waitFor();
    await port.fill('25');
    await page.keyboard.press('Enter');
    await page.getByText('Saved', { exact: true }).first().waitFor();

    await page.reload();
    await connected(page);
    await until(
      async () => (await page.getByLabel('Name', { exact: true }).inputValue()) === 'Lab in the attic',
      'the name',
    );
    assert.deepEqual(page.complaints, []);
  });
});
