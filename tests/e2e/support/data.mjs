// The data view, and clients that put something there to be seen.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { connect } from '../../support/client.mjs';
import { openStream } from '../../support/persist.mjs';
import { ACCOUNT, startServer } from '../../support/server.mjs';
import { connected, newPage, newProfile, workbench } from './browser.mjs';

/** A path of the account's. */
export const pathOf = (name) => `accounts/${ACCOUNT}/${name}`;

/** Where a stream, or a message of it, is on the page. */
export const placeOf = (name, seq) =>
  `#/data/streams/${encodeURIComponent(pathOf(name))}${seq === undefined ? '' : `/${seq}`}`;

/** A server where everything runs, and a client that writes. */
export async function dataServer(t) {
  const server = await startServer(t, { policy: 'lite', services: 'all' });
  const client = await connect(t, server);
  return { server, client, stream: (name, options) => accountStream(client, name, options) };
}

/** A stream of the account's, for writing. */
export const accountStream = (client, name, options) =>
  openStream(client, pathOf(name), { scope: `account-${ACCOUNT}`, ...options });

/** The page at a place in the data. */
export async function dataPage(t, server, place, { profile = {}, ...options } = {}) {
  const page = await newPage(await newProfile(t, profile), options);
  await page.goto(workbench(server, place));
  await connected(page);
  return page;
}

/** The text of the element that has the focus. */
export const focused = (page) =>
  page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim());

/** A row of the list in front. */
export const rowOf = (page, name) => page.locator(`[data-row="${name}"]`);

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe finds wrong on the page, each in one line. */
export async function violations(page) {
  // Not as a script element: the page's policy forbids those.
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations: found } = await window.axe.run();
    return found.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`));
  });
}
