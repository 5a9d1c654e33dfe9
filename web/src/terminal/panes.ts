import { signal } from '@preact/signals';
import type { Pane } from './pane';

/** The emulators of the tabs that have been shown, for what is outside of them: key row, tools, closing. */
export const panes = signal<Record<number, Pane>>({});
