import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { panes } from './panes';

/** Ctrl was pressed on the row and waits for the next key. */
const stickyControl = signal(false);

/** Was Ctrl pressed on the row? It holds for one key. */
export function takeControl(): boolean {
  const pressed = stickyControl.peek();
  stickyControl.value = false;
  return pressed;
}

const KEYS: { label: string; name: string; data: string }[] = [
  { label: 'Esc', name: 'Escape', data: '\x1b' },
  { label: 'Tab', name: 'Tab', data: '\t' },
  { label: '←', name: 'Left', data: '\x1b[D' },
  { label: '↓', name: 'Down', data: '\x1b[B' },
  { label: '↑', name: 'Up', data: '\x1b[A' },
  { label: '→', name: 'Right', data: '\x1b[C' },
  { label: '|', name: 'Pipe', data: '|' },
  { label: '/', name: 'Slash', data: '/' },
  { label: '-', name: 'Minus', data: '-' },
];

/** The keys that the keyboard of a phone lacks; shown on touch screens only. */
export function KeyRow({ current }: { current: number }): JSX.Element {
  const pane = panes.value[current];
  const toggleControl = () => {
    stickyControl.value = !stickyControl.value;
    pane?.focus();
  };
  return (
    <div class="key-row" role="toolbar" aria-label="More keys">
      <button type="button" class="key-cap" aria-pressed={stickyControl.value} onClick={toggleControl}>
        Ctrl
      </button>
      {KEYS.map(({ label, name, data }) => (
        <button key={name} type="button" class="key-cap" aria-label={name} onClick={() => pane?.type(data)}>
          {label}
        </button>
      ))}
    </div>
  );
}
