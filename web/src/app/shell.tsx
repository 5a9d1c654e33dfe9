import { signal, useSignalEffect } from '@preact/signals';
import type { JSX } from 'preact';
import logo from '../assets/logo.svg';
import { ConnectionsView } from '../connections/view';
import { DataHost } from '../data/host';
import { FlightView } from '../flight/view';
import { StatusView } from '../status/view';
import { lastTerminal } from '../terminal/tabs';
import { TerminalView } from '../terminal/view';
import { Icon, type IconName } from '../ui/icons';
import { ConnectionState } from './connection-state';
import { hrefOf, route, type Route, type View } from './route';
import { busState } from './session';
import { SignIn } from './sign-in';
import { isDark, toggleTheme } from './theme';

const VIEWS: { view: View; label: string; short?: string; icon: IconName }[] = [
  { view: 'status', label: 'Status', icon: 'status' },
  { view: 'terminal', label: 'Terminal', icon: 'terminal' },
  { view: 'data', label: 'Data', icon: 'data' },
  { view: 'connections', label: 'Connections', icon: 'connections' },
  { view: 'flight', label: 'Flight recorder', short: 'Recorder', icon: 'flight' },
];

/** Terminals stay as they are while another view is shown, so their view is kept once it was there. */
const terminalsUsed = signal(false);

/** The frame around every view: navigation, the state of the connection, the theme. */
export function Shell(): JSX.Element {
  const { view } = route.value;
  useSignalEffect(() => {
    const { view: shown, terminal, data } = route.value;
    if (shown === 'terminal') terminalsUsed.value = true;
    const label = VIEWS.find((item) => item.view === shown)?.label ?? '';
    const detail = terminal ?? data?.stream;
    document.title = `${detail === undefined ? label : `${label} ${detail}`} · Outpost`;
  });
  const signedOut = busState.value.phase === 'signed-out';
  return (
    <div class="shell">
      <header class="header">
        <a class="skip" href={hrefOf(route.value)} onClick={skipToContent}>
          Skip to content
        </a>
        <a class="brand" href={hrefOf({ view: 'status' })} aria-label="Outpost">
          <img src={logo} alt="" width="26" height="26" />
          <span>Outpost</span>
        </a>
        <nav class="nav" aria-label="Views">
          {VIEWS.map((item) => (
            <NavLink key={item.view} {...item} current={item.view === view} />
          ))}
        </nav>
        <div class="header-end">
          <ConnectionState />
          <ThemeButton />
        </div>
      </header>
      {signedOut && <SignIn />}
      <div class="content" id="content" tabIndex={0} hidden={signedOut}>
        {view === 'status' && <StatusView />}
        {view === 'data' && <DataHost />}
        {view === 'connections' && <ConnectionsView />}
        {view === 'flight' && <FlightView />}
        {(terminalsUsed.value || view === 'terminal') && <TerminalView visible={view === 'terminal'} />}
      </div>
    </div>
  );
}

function NavLink(props: { view: View; label: string; short?: string; icon: IconName; current: boolean }): JSX.Element {
  const { view, label, short, icon, current } = props;
  const to: Route = view === 'terminal' ? { view, terminal: lastTerminal.value } : { view };
  return (
    <a class="nav-link" href={hrefOf(to)} aria-current={current ? 'page' : undefined}>
      <Icon name={icon} />
      <span class="nav-label" data-short={short ?? label}>
        {label}
      </span>
    </a>
  );
}

function ThemeButton(): JSX.Element {
  const label = isDark.value ? 'Use light colours' : 'Use dark colours';
  return (
    <button type="button" class="button button-icon" aria-label={label} title={label} onClick={toggleTheme}>
      <Icon name={isDark.value ? 'sun' : 'moon'} />
    </button>
  );
}

function skipToContent(event: Event): void {
  event.preventDefault();
  document.getElementById('content')?.focus();
}
