import { FitAddon } from '@xterm/addon-fit';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { effect } from '@preact/signals';
import { isDark } from '../app/theme';
import type { Client } from '../bus/client';
import { copyText, pasteText } from '../ui/clipboard';
import { DARK, LIGHT } from './palette';
import { fontSize } from './preferences';
import { isReport } from './reports';
import { TerminalSession, type Screen, type SessionState } from './session';
import type { Size } from './sizes';

/** What a pane tells its tab. */
export interface PaneListener {
  state(state: SessionState): void;
  /** The program's title, or else the directory it is in. */
  title(title: string): void;
  /** Was Ctrl pressed on the extra row of keys? Asking uses it up. */
  takeControl(): boolean;
  /** The user wants out of the emulator, which takes every key, Tab included. */
  leave(): void;
}

const FONT =
  'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace';
const SCROLLBACK_LINES = 10_000;

/** One terminal emulator and the session it shows. */
export class Pane implements Screen {
  readonly session: TerminalSession;
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #observer: ResizeObserver;
  readonly #stopEffect: () => void;
  /** While the history is written, the emulator must not answer questions that were answered long ago. */
  #replaying = false;
  #keyDown = false;
  #title = '';
  #cwd = '';

  constructor(
    client: Client,
    base: string,
    sessionId: string,
    private readonly host: HTMLElement,
    private readonly listener: PaneListener,
  ) {
    const terminal = new Terminal({
      fontFamily: FONT,
      fontSize: fontSize.peek(),
      scrollback: SCROLLBACK_LINES,
      cursorBlink: true,
      macOptionClickForcesSelection: true,
      rightClickSelectsWord: true,
      minimumContrastRatio: 4.5,
      theme: isDark.peek() ? DARK : LIGHT,
    });
    this.#terminal = terminal;
    terminal.loadAddon(this.#fit);
    terminal.loadAddon(new WebLinksAddon());
    terminal.attachCustomKeyEventHandler((event) => this.#key(event));
    terminal.open(host);
    terminal.onData((data) => this.#data(data));
    terminal.onBinary((data) => this.session.input(data, 'user'));
    terminal.onTitleChange((title) => {
      this.#title = title;
      this.#tellTitle();
    });
    this.session = new TerminalSession(client, base, sessionId, this);
    this.session.events.on('state', (state) => this.#stateChanged(state));
    this.session.events.on('cwd', (cwd) => {
      this.#cwd = cwd;
      this.#tellTitle();
    });
    this.#observer = new ResizeObserver(this.#fitAgain);
    this.#observer.observe(host);
    document.addEventListener('visibilitychange', this.#fitAgain);
    this.#stopEffect = effect(() => {
      terminal.options.theme = isDark.value ? DARK : LIGHT;
      terminal.options.fontSize = fontSize.value;
      void this.session.fit();
    });
    const own = this.proposedSize();
    if (own) this.resize(own);
    void this.session.attach();
  }

  readonly #fitAgain = (): void => void this.session.fit();

  /** Takes the keyboard. */
  focus(): void {
    this.#terminal.focus();
  }

  /** Types for the user; cursor keys are written the way the program has asked for. */
  type(data: string): void {
    const cursor = this.#terminal.modes.applicationCursorKeysMode && data.startsWith('\x1b[');
    this.session.input(cursor ? data.replace('[', 'O') : data, 'user');
    this.focus();
  }

  /** Copies the selection; false if there is none, or the browser forbids it. */
  async copy(): Promise<boolean> {
    const selection = this.#terminal.getSelection();
    const done = selection !== '' && (await copyText(selection));
    this.focus();
    return done;
  }

  /** Pastes what is in the clipboard, if the browser lets us. */
  async paste(): Promise<boolean> {
    const text = await pasteText();
    if (text) this.#terminal.paste(text);
    this.focus();
    return text !== undefined;
  }

  /** Leaves the session and removes the emulator. */
  dispose(): void {
    this.#observer.disconnect();
    document.removeEventListener('visibilitychange', this.#fitAgain);
    this.#stopEffect();
    this.session.close();
    this.#terminal.dispose();
  }

  reset(history: string): void {
    this.#terminal.reset();
    this.#replaying = true;
    this.#terminal.write(history, () => (this.#replaying = false));
  }

  write(data: string): void {
    this.#terminal.write(data);
  }

  resize({ rows, cols }: Size): void {
    if (rows !== this.#terminal.rows || cols !== this.#terminal.cols) this.#terminal.resize(cols, rows);
  }

  proposedSize(): Size | null {
    if (this.host.clientWidth === 0 || document.visibilityState === 'hidden') return null;
    const size = this.#fit.proposeDimensions();
    if (!size || !Number.isFinite(size.rows) || !Number.isFinite(size.cols)) return null;
    return { rows: Math.max(size.rows, 2), cols: Math.max(size.cols, 2) };
  }

  #stateChanged(state: SessionState): void {
    // Leaves the alternate screen, shows the cursor, ends colours and mouse tracking: the program didn't get to.
    const tidy = '\x1b[?1049l\x1b[?25h\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[0m';
    if (state.phase === 'ended') {
      this.#title = '';
      this.#tellTitle();
      this.write(`${tidy}\r\n\x1b[2m— The program has ended. Press a key to start again. —\x1b[0m\r\n`);
    } else if (state.phase === 'failed') {
      this.write(`${tidy}\r\n\x1b[31m${state.reason}\x1b[0m\r\n\x1b[2m— Press a key to try again. —\x1b[0m\r\n`);
    }
    this.listener.state(state);
  }

  #tellTitle(): void {
    this.listener.title(this.#title || (this.#cwd.split('/').filter(Boolean).at(-1) ?? ''));
  }

  #data(data: string): void {
    if (!this.#keyDown && isReport(data)) {
      if (!this.#replaying) this.session.input(data, 'auto');
      return;
    }
    this.session.input(this.listener.takeControl() ? controlCharacter(data) : data, 'user');
  }

  /** Some function keys look like reports; a key that is being handled tells them apart. */
  #key(event: KeyboardEvent): boolean {
    if (event.type !== 'keydown') return true;
    const command = event.ctrlKey && event.shiftKey && !event.altKey;
    if (command && event.code === 'KeyC') {
      event.preventDefault();
      void this.copy();
      return false;
    }
    if (command && event.code === 'ArrowUp') {
      event.preventDefault();
      this.listener.leave();
      return false;
    }
    if (this.#scrollKey(event)) return false;
    // The browser pastes by itself if the emulator leaves the key alone.
    if (command && event.code === 'KeyV') return false;
    this.#keyDown = true;
    queueMicrotask(() => (this.#keyDown = false));
    return true;
  }

  /** Shift with Home and End goes to the ends of the scrollback; full-screen programs have none and get the keys. */
  #scrollKey({ shiftKey, ctrlKey, altKey, code }: KeyboardEvent): boolean {
    if (!shiftKey || ctrlKey || altKey || this.#terminal.buffer.active.type !== 'normal') return false;
    if (code === 'Home') this.#terminal.scrollToTop();
    else if (code === 'End') this.#terminal.scrollToBottom();
    else return false;
    return true;
  }
}

/** `c` becomes Ctrl-C, and so on; what has no control character stays as it is. */
function controlCharacter(data: string): string {
  const code = data.toUpperCase().charCodeAt(0);
  if (data.length !== 1) return data;
  if (code === 0x20) return '\0';
  return code >= 0x40 && code < 0x60 ? String.fromCharCode(code & 0x1f) : data;
}
