// The data view for everybody: nothing that axe finds, in light and in dark, and it fits a phone.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { closeBrowser, connected, workbench } from './support/browser.mjs';
import { dataPage, dataServer, placeOf, violations } from './support/data.mjs';

after(closeBrowser);

/** Every view, and what is there when it is. */
const VIEWS = [
  ['#/data', '[data-row]'],
  [placeOf('a'), '[data-row]'],
  [placeOf('a', 1), '[role=tree][aria-label=Value]'],
  ['#/data/blobs', '.drop-zone'],
  ['#/data/settings', '.settings'],
];

async function filled(t) {
  const { server, stream } = await dataServer(t);
  const made = await stream('a');
  const value = { name: 'Ada', n: 1, on: true, none: null, at: new Date(0), list: [1, 2], bytes: new Uint8Array(9) };
  await made.set(value, { key: 'k'.repeat(80), headers: { a: 1 } });
  await made.set(null, { key: 'other', headers: { 'CN-Tombstone': true } });
  return server;
}

describe('the data view', () => {
  for (const colorScheme of ['light', 'dark']) {
    test(`has nothing that axe finds wrong (${colorScheme})`, async (t) => {
      const server = await filled(t);
      const page = await dataPage(t, server, '#/data', { profile: { colorScheme } });
      for (const [place, sign] of VIEWS) {
        await page.goto(workbench(server, place));
        await page.locator(sign).first().waitFor();
        assert.deepEqual(await violations(page), [], place);
      }
      await page.goto(workbench(server, placeOf('a', 1)));
      await page.getByRole('tab', { name: 'Hex' }).click();
      await page.getByRole('button', { name: 'Follow live' }).click();
      await page.getByText('Live: new messages appear on top.').waitFor();
      assert.deepEqual(await violations(page), [], 'live, and bytes');
      await page.getByRole('button', { name: 'Delete this message' }).click();
      await page.getByRole('dialog').waitFor();
      assert.deepEqual(await violations(page), [], 'a question');
      assert.deepEqual(page.complaints, []);
    });
  }

  test('fits a phone without scrolling sideways', async (t) => {
    const server = await filled(t);
    const profile = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
    const page = await dataPage(t, server, '#/data', { profile });
    for (const [place, sign] of VIEWS) {
      await page.goto(workbench(server, place));
      await connected(page);
      await page.locator(sign).first().waitFor();
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `${place} is ${overflow} px too wide`);
    }
    assert.deepEqual(page.complaints, []);
  });
});
