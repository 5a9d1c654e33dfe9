// A terminal on the page, as a user sees it: characters on a screen.

import { until } from '../../support/wait.mjs';
import { PATIENCE } from './browser.mjs';

const SHOWN = '.terminal-pane:not([hidden])';

/** Waits until the terminal in front is attached to its session. */
export async function attached(page) {
  await page.locator(`${SHOWN}[data-session=attached]`).waitFor();
  await page.locator(`${SHOWN} .xterm-rows`).waitFor();
}

/** The text on the screen of the terminal in front, line by line, without trailing blanks. */
export async function screenText(page) {
  return page.evaluate(readScreen, SHOWN);
}

function readScreen(shown) {
  const rows = document.querySelectorAll(`${shown} .xterm-rows > div`);
  // The emulator writes spaces as no-break spaces.
  return [...rows].map((row) => row.textContent.replaceAll('\u00a0', ' ').trimEnd()).join('\n');
}

/** Waits until the screen matches; returns the match. */
export async function screenShows(page, pattern) {
  let text;
  const match = async () => pattern.exec((text = await screenText(page)));
  return until(match, `${pattern} on the screen`, PATIENCE).catch((error) => {
    throw new Error(`${error.message}, but:\n${text}`);
  });
}

/** Types a line into the terminal in front. */
export async function typeLine(page, line) {
  await page.locator(`${SHOWN} .xterm-helper-textarea`).focus();
  await page.keyboard.type(`${line}\n`);
}

/** Runs a command whose output is `word` and a value, and returns the value. The word is not in the command itself. */
export async function ask(page, command, word = `w${Math.random().toString(36).slice(2, 8)}`) {
  const [head, tail] = [word.slice(0, 2), word.slice(2)];
  await typeLine(page, `echo ${head}''${tail}-$(${command})-`);
  const [, value] = await screenShows(page, new RegExp(`${word}-([^\\n]*)-`));
  return value;
}
