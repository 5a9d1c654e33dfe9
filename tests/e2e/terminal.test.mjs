// A shell in the browser: typing, reloading, resizing, ending, several of them, several browsers at one.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { closeBrowser, newPage, newProfile, workbench } from './support/browser.mjs';
import { ask, attached, screenShows, screenText, typeLine } from './support/terminal.mjs';

let server;
/** Sessions outlive pages, so every test has a terminal number of its own. */
let terminal = 0;

before(async () => {
  server = await startServer(undefined, { policy: 'lite', services: 'all' });
});

after(async () => {
  await closeBrowser();
  await server?.stop();
});

async function openTerminal(t, { number = ++terminal, profile } = {}) {
  const page = await newPage(profile ?? (await newProfile(t)));
  await page.goto(workbench(server, `#/terminal/${number}`));
  await attached(page);
  return page;
}

const size = async (page) => (await ask(page, 'stty size')).split(' ').map(Number);

describe('a terminal', () => {
  test('runs what is typed, in the home directory', async (t) => {
    const page = await openTerminal(t);
    assert.equal(await ask(page, 'expr 6 \\* 7'), '42');
    assert.equal(await ask(page, 'pwd'), server.home);
    assert.deepEqual(page.complaints, []);
  });

  test('is still there after a reload, scrollback and all', async (t) => {
    const page = await openTerminal(t);
    const pid = await ask(page, 'echo $$', 'firstline');
    await typeLine(page, 'seq 1001 1100');
    await screenShows(page, /^1100$/m);
    await page.reload();
    await attached(page);
    await screenShows(page, /^1100$/m);
    assert.ok(!(await screenText(page)).includes('firstline-'), 'the first line has scrolled away');
    await page.keyboard.press('Shift+Home');
    await screenShows(page, new RegExp(`firstline-${pid}-`));
    assert.equal(await ask(page, 'echo $$'), pid);
    assert.deepEqual(page.complaints, []);
  });

  test('has the size of its space, and follows it', async (t) => {
    const page = await openTerminal(t);
    const [rows, cols] = await size(page);
    await page.setViewportSize({ width: 700, height: 420 });
    await page.waitForFunction(
      (before) => document.querySelectorAll('.terminal-pane:not([hidden]) .xterm-rows > div').length < before,
      rows,
    );
    const [fewerRows, fewerCols] = await size(page);
    assert.ok(fewerRows < rows && fewerCols < cols, `${fewerRows}×${fewerCols} after ${rows}×${cols}`);
    assert.deepEqual(page.complaints, []);
  });

  test('says when its program has ended, and a key starts it again', async (t) => {
    const page = await openTerminal(t);
    const pid = await ask(page, 'echo $$');
    await typeLine(page, 'exit');
    await screenShows(page, /The program has ended\. Press a key to start again\./);
    await page.locator('[data-session=ended]').waitFor();
    await page.keyboard.press('Enter');
    await attached(page);
    assert.notEqual(await ask(page, 'echo $$'), pid);
    assert.deepEqual(page.complaints, []);
  });

  test('does not answer the questions of its history again', async (t) => {
    const page = await openTerminal(t);
    // Asks for device attributes and the cursor position, and swallows the answers.
    await typeLine(page, `printf '\\033[c\\033[6n'; read -rs -t 2 -n 40 x; clear; echo as''ked`);
    await screenShows(page, /^asked$/m);
    await page.reload();
    await attached(page);
    assert.equal(await ask(page, 'echo clean'), 'clean');
    assert.doesNotMatch(await screenText(page), /\d+;\d+R|\?1;2c/);
    assert.deepEqual(page.complaints, []);
  });

  test('takes a long paste whole', async (t) => {
    const page = await openTerminal(t);
    const profile = page.context();
    await profile.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url });
    const lines = Array.from({ length: 2000 }, (_, n) => `line ${n} of what is pasted`);
    await typeLine(page, 'stty -echo; cat > pasted.txt; stty echo; echo do""ne');
    await page.evaluate((text) => navigator.clipboard.writeText(text), `${lines.join('\n')}\n`);
    await page.getByRole('button', { name: /^Paste/ }).click();
    await page.locator('.terminal-pane:not([hidden]) .xterm-helper-textarea').focus();
    await page.keyboard.press('Control+d');
    await screenShows(page, /^done$/m);
    assert.equal(await ask(page, 'wc -l < pasted.txt'), '2000');
    assert.deepEqual(page.complaints, []);
  });

  test('copies a selection', async (t) => {
    const page = await openTerminal(t);
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url });
    await typeLine(page, 'clear; echo copy_me_please');
    await screenShows(page, /^copy_me_please$/m);
    const word = page.locator('.terminal-pane:not([hidden]) .xterm-rows > div', { hasText: /^copy_me_please/ });
    const box = await word.boundingBox();
    await page.mouse.dblclick(box.x + 20, box.y + box.height / 2);
    await page.keyboard.press('Control+Shift+C');
    await page.waitForFunction(async () => (await navigator.clipboard.readText()) === 'copy_me_please');
    assert.deepEqual(page.complaints, []);
  });
});

describe('several terminals', () => {
  test('have tabs that survive a reload, and screens of their own', async (t) => {
    const page = await openTerminal(t, { number: 40 });
    await ask(page, 'echo one', 'inforty');
    await page.getByRole('button', { name: 'New terminal' }).click();
    await attached(page);
    assert.ok(!(await screenText(page)).includes('inforty'));
    const opened = page.url();
    await page.reload();
    await attached(page);
    assert.equal(page.url(), opened);
    await page.getByRole('tab', { name: /^40/ }).click();
    await screenShows(page, /inforty-one-/);
    await page.getByRole('link', { name: 'Status' }).click();
    await page.getByRole('link', { name: 'Terminal', exact: true }).click();
    assert.match(page.url(), /#\/terminal\/40$/);
    await screenShows(page, /inforty-one-/);
    assert.deepEqual(page.complaints, []);
  });

  test('a closed tab’s program can be left running, or ended', async (t) => {
    const page = await openTerminal(t, { number: 50 });
    const pid = await ask(page, 'echo $$');
    await page.getByRole('button', { name: 'Close terminal 50' }).click();
    await page.getByRole('button', { name: 'Leave it running' }).click();
    await page.getByRole('tab', { name: /^50/ }).waitFor({ state: 'detached' });
    await page.goto(workbench(server, '#/terminal/50'));
    await attached(page);
    assert.equal(await ask(page, 'echo $$'), pid);

    await page.getByRole('button', { name: 'Close terminal 50' }).click();
    await page.getByRole('button', { name: 'End the program' }).click();
    await page.getByRole('tab', { name: /^50/ }).waitFor({ state: 'detached' });
    await page.goto(workbench(server, '#/terminal/50'));
    await attached(page);
    assert.notEqual(await ask(page, 'echo $$'), pid);
    assert.deepEqual(page.complaints, []);
  });
});

describe('two browsers at one terminal', () => {
  test('see the same, at a size that fits both; one can send the other away', async (t) => {
    const number = ++terminal;
    const wide = await openTerminal(t, { number });
    const [, wideCols] = await size(wide);
    const narrow = await openTerminal(t, {
      number,
      profile: await newProfile(t, { viewport: { width: 640, height: 720 } }),
    });
    await ask(narrow, 'echo hello', 'shared');
    await screenShows(wide, /shared-hello-/);
    const [, bothCols] = await size(narrow);
    assert.ok(bothCols < wideCols);

    await wide.getByRole('button', { name: /^Disconnect other browsers/ }).click();
    await narrow.getByText('Another browser has taken this terminal over.').waitFor();
    await wide.waitForFunction((cols) => {
      const row = document.querySelector('.terminal-pane:not([hidden]) .xterm-rows');
      return row.getBoundingClientRect().width > 640 && cols > 0;
    }, wideCols);
    await narrow.getByRole('button', { name: 'Take it back' }).click();
    await attached(narrow);
    await screenShows(narrow, /shared-hello-/);
    assert.deepEqual([...wide.complaints, ...narrow.complaints], []);
  });
});
