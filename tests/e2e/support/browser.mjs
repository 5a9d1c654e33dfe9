// Headless Chromium, one for a test file, and pages that remember everything that went wrong in them.

import { chromium } from 'playwright-core';
import { SOON, until } from '../../support/wait.mjs';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** How long a page may take for something that involves starting a program, on a busy machine. */
export const PATIENCE = 3 * SOON;

let browser;

/** The file's browser; started when first needed, ended with `closeBrowser`. */
export async function openBrowser() {
  browser ??= chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
  return browser;
}

export async function closeBrowser() {
  await (await browser)?.close();
}

/** A browser profile of its own: no cookies, nothing stored. */
export async function newProfile(t, options = {}) {
  const context = await (await openBrowser()).newContext({ viewport: { width: 1100, height: 720 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  t.after(() => context.close());
  return context;
}

/**
 * A page in `profile`. `page.complaints` has every console error and warning, uncaught exception and violation of the
 * content security policy, unless `expected` matches it.
 */
export async function newPage(profile, { expected = /^\b$/ } = {}) {
  const page = await profile.newPage();
  page.complaints = [];
  const complain = (text) => {
    if (!expected.test(text)) page.complaints.push(text);
  };
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complain(`console: ${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', (error) => complain(`exception: ${error.stack ?? error}`));
  await page.exposeFunction('reportViolation', (text) => page.complaints.push(`policy: ${text}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      window.reportViolation(`${violatedDirective} ${blockedURI}`);
    });
  });
  return page;
}

/** Where the workbench is served, with a route in it. */
export const workbench = (server, route = '') => `${server.url}/static/app.html${route}`;

/** Waits until the page says that it is connected. */
export async function connected(page) {
  await page.locator('.connection[data-phase=connected]').waitFor();
}

/** Waits until a figure of the status view passes `test`; returns it. */
export async function metric(page, name, test = () => true) {
  const locator = page.locator(`[data-metric="${name}"]`);
  await locator.waitFor();
  let text;
  await until(async () => test((text = await locator.innerText())), `a fitting ${name}`, PATIENCE);
  return text;
}
