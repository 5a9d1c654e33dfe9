import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import { busState, client } from '../app/session';
import { messageOf } from '../bus/error';
import { takeControl } from './key-row';
import type { Pane } from './pane';
import { panes } from './panes';
import type { SessionState } from './session';
import { sessionId, setTitle } from './tabs';

interface Props {
  tab: number;
  project: string;
  shown: boolean;
}

/** Holds one tab's emulator, which is loaded and attached when the tab is first shown. */
export function PaneHost({ tab, project, shown }: Props): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const started = useSignal(false);
  const state = useSignal<SessionState>({ phase: 'attaching' });
  const failure = useSignal('');
  const attempt = useSignal(0);
  const start = shown || started.value;

  useEffect(() => {
    const element = host.current;
    if (!start || !element) return undefined;
    started.value = true;
    let pane: Pane | undefined;
    let gone = false;
    failure.value = '';
    import('./pane').then(
      (module) => {
        if (gone) return;
        pane = new module.Pane(client, `terminal.project-${project}.0`, sessionId(tab), element, {
          state: (next) => (state.value = next),
          title: (title) => setTitle(tab, title),
          takeControl,
          leave: () => document.getElementById(`terminal-tab-${tab}`)?.focus(),
        });
        panes.value = { ...panes.peek(), [tab]: pane };
      },
      (error: unknown) => (failure.value = messageOf(error)),
    );
    return () => {
      gone = true;
      pane?.dispose();
      panes.value = Object.fromEntries(Object.entries(panes.peek()).filter(([key]) => Number(key) !== tab));
    };
  }, [start, tab, project, attempt.value, state, failure, started]);

  const pane = panes.value[tab];
  useEffect(() => {
    if (!shown || !pane) return;
    void pane.session.fit();
    pane.focus();
  }, [shown, pane]);

  return (
    <div
      class="terminal-pane"
      hidden={!shown}
      data-session={state.value.phase}
      id={`terminal-${tab}`}
      role="tabpanel"
      aria-labelledby={`terminal-tab-${tab}`}
    >
      <div class="terminal-screen" ref={host} />
      {failure.value ? (
        <Notice text="The terminal could not be loaded." action="Try again" act={() => attempt.value++} />
      ) : (
        <StateNotice state={state.value} pane={pane} />
      )}
    </div>
  );
}

function StateNotice({ state, pane }: { state: SessionState; pane: Pane | undefined }): JSX.Element | null {
  switch (state.phase) {
    case 'attaching':
      return <Notice text={busState.value.phase === 'connected' ? 'Attaching…' : 'Waiting for the connection…'} />;
    case 'detached':
      return (
        <Notice
          text={busState.value.phase === 'connected' ? `Not attached: ${state.reason}` : 'Waiting for the connection…'}
        />
      );
    case 'kicked':
      return (
        <Notice
          text="Another browser has taken this terminal over."
          action="Take it back"
          act={() => void pane?.session.attach()}
        />
      );
    default:
      return null;
  }
}

function Notice({ text, action, act }: { text: string; action?: string; act?: () => void }): JSX.Element {
  return (
    <div class="terminal-notice" role="status">
      <span>{text}</span>
      {action && (
        <button type="button" class="button button-small" onClick={act}>
          {action}
        </button>
      )}
    </div>
  );
}
