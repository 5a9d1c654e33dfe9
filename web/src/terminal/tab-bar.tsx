import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { hrefOf, navigate } from '../app/route';
import { Icon } from '../ui/icons';
import { closing } from './close-dialog';
import { panes } from './panes';
import { changeFontSize } from './preferences';
import { openTab, tabs, titles } from './tabs';

/** The tabs of the open terminals, and what can be done with the one in front. */
export function TabBar({ current }: { current: number }): JSX.Element {
  return (
    <div class="tab-bar">
      <div class="tabs" role="tablist" aria-label="Terminals" onKeyDown={tabKey}>
        {tabs.value.map((tab) => (
          <Tab key={tab} tab={tab} selected={tab === current} />
        ))}
      </div>
      <button
        type="button"
        class="button button-icon"
        aria-label="New terminal"
        title="New terminal"
        onClick={() => navigate({ view: 'terminal', terminal: openTab() })}
      >
        <Icon name="plus" />
      </button>
      <Tools tab={current} />
    </div>
  );
}

function Tab({ tab, selected }: { tab: number; selected: boolean }): JSX.Element {
  const title = titles.value[tab] ?? '';
  const name = `Terminal ${tab}`;
  return (
    <div class="tab" role="presentation" data-selected={selected}>
      <a
        class="tab-link"
        id={`terminal-tab-${tab}`}
        role="tab"
        data-tab={tab}
        href={hrefOf({ view: 'terminal', terminal: tab })}
        aria-selected={selected}
        aria-controls={`terminal-${tab}`}
        tabIndex={selected ? 0 : -1}
        title={`${title ? `${name}: ${title}` : name} (Ctrl+Shift+↑ comes here from inside)`}
      >
        <span class="tab-number">{tab}</span>
        <span class="tab-title">{title || name}</span>
      </a>
      {/* For the mouse. The keyboard has Delete, a screen reader the button among the tools. */}
      <button type="button" class="tab-close" aria-hidden="true" tabIndex={-1} onClick={() => (closing.value = tab)}>
        <Icon name="close" />
      </button>
    </div>
  );
}

/** Arrow keys go from tab to tab and Delete closes one, as in any list of tabs. */
function tabKey(event: KeyboardEvent): void {
  if (!(event.currentTarget instanceof HTMLElement)) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLElement>('[role=tab]')];
  const index = links.findIndex((link) => link === document.activeElement);
  const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
  if (event.key === 'Delete') closing.value = Number(links[index]?.dataset.tab);
  else if (step !== 0) links[(index + step + links.length) % links.length]?.focus();
  else return;
  event.preventDefault();
}

function Tools({ tab }: { tab: number }): JSX.Element {
  const said = useSignal('');
  const pane = panes.value[tab];
  const say = (text: string) => {
    said.value = text;
    setTimeout(() => (said.value = ''), 2500);
  };
  const copy = async () => say((await pane?.copy()) ? 'Copied' : 'Select some text first');
  const paste = async () => {
    if (!(await pane?.paste())) say('The browser allows pasting by keyboard only');
  };
  return (
    <div class="tools" role="toolbar" aria-label="Terminal tools">
      <span class="tools-said" role="status">
        {said.value}
      </span>
      <Tool label="Copy the selection (Ctrl+Shift+C)" disabled={!pane} act={() => void copy()}>
        <Icon name="copy" />
      </Tool>
      <Tool label="Paste (Ctrl+Shift+V)" disabled={!pane} act={() => void paste()}>
        <Icon name="paste" />
      </Tool>
      <Tool label="Smaller letters" act={() => changeFontSize(-1)}>
        <span class="letter-small">A</span>
      </Tool>
      <Tool label="Larger letters" act={() => changeFontSize(1)}>
        <span class="letter-large">A</span>
      </Tool>
      <Tool
        label="Disconnect other browsers from this terminal"
        disabled={!pane}
        act={() => void pane?.session.kickOthers()}
      >
        <Icon name="kick" />
      </Tool>
      <Tool label={`Close terminal ${tab}`} disabled={tabs.value.length === 0} act={() => (closing.value = tab)}>
        <Icon name="close" />
      </Tool>
    </div>
  );
}

interface ToolProps {
  label: string;
  disabled?: boolean;
  act: () => void;
  children: JSX.Element;
}

function Tool({ label, disabled = false, act, children }: ToolProps): JSX.Element {
  return (
    <button type="button" class="button button-icon" aria-label={label} title={label} disabled={disabled} onClick={act}>
      {children}
    </button>
  );
}
