import { useEffect } from 'preact/hooks';
import type { JSX } from 'preact';
import { navigate, route } from '../app/route';
import { identity } from '../app/session';
import { Empty } from '../ui/empty';
import { Icon } from '../ui/icons';
import { CloseDialog } from './close-dialog';
import { KeyRow } from './key-row';
import { PaneHost } from './pane-host';
import { TabBar } from './tab-bar';
import { lastTerminal, openTab, tabs } from './tabs';

/** Every open terminal, one of them in front. Hidden ones keep their screen and stay attached. */
export function TerminalView({ visible }: { visible: boolean }): JSX.Element {
  const { view, terminal } = route.value;
  const current = terminal ?? lastTerminal.value;
  const project = identity.value?.projectId;
  useEffect(() => {
    // `#/terminal` alone means the one looked at last.
    if (view === 'terminal' && terminal === undefined && tabs.value.length > 0) {
      navigate({ view, terminal: lastTerminal.value }, true);
    }
  }, [view, terminal]);
  return (
    <main class="terminals" hidden={!visible}>
      <h1 class="visually-hidden">Terminal</h1>
      <TabBar current={current} />
      <div class="terminal-stack">
        {tabs.value.length === 0 && (
          <Empty title="No terminal is open.">
            <button type="button" class="button button-primary" onClick={() => navigate({ view, terminal: openTab() })}>
              <Icon name="plus" />
              New terminal
            </button>
          </Empty>
        )}
        {project !== undefined &&
          tabs.value.map((tab) => (
            <PaneHost key={tab} tab={tab} project={project} shown={visible && tab === current} />
          ))}
      </div>
      <KeyRow current={current} />
      <CloseDialog />
    </main>
  );
}
