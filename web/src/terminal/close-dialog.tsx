import { signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import { navigate, route } from '../app/route';
import { panes } from './panes';
import { closeTab } from './tabs';

/** The tab that is about to be closed. */
export const closing = signal<number | undefined>(undefined);

/** Asks what becomes of the program when its tab is closed. */
export function CloseDialog(): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const tab = closing.value;
  const running = tab !== undefined && panes.value[tab]?.session.state.phase === 'attached';
  useEffect(() => {
    if (tab === undefined) return;
    if (running) dialog.current?.showModal();
    else finish(tab);
  }, [tab, running]);
  const choose = async (end: boolean) => {
    if (tab === undefined) return;
    dialog.current?.close();
    if (end) await panes.value[tab]?.session.destroy().catch(() => undefined);
    finish(tab);
  };
  return (
    <dialog class="dialog" ref={dialog} aria-labelledby="close-title" onClose={() => (closing.value = undefined)}>
      <h2 id="close-title">Close terminal {tab}?</h2>
      <p>Its program is still running. Left running, it is back when you open terminal {tab} again.</p>
      <div class="dialog-buttons">
        <button type="button" class="button" onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        <button type="button" class="button" onClick={() => void choose(false)}>
          Leave it running
        </button>
        <button type="button" class="button button-danger" onClick={() => void choose(true)}>
          End the program
        </button>
      </div>
    </dialog>
  );
}

function finish(tab: number): void {
  closing.value = undefined;
  const next = closeTab(tab);
  if (route.peek().terminal !== tab) return;
  navigate(next === undefined ? { view: 'terminal' } : { view: 'terminal', terminal: next }, true);
}
