import { signal, useSignal } from '@preact/signals';
import { useCallback } from 'preact/hooks';
import type { JSX } from 'preact';
import { callOutpost } from '../app/api';
import { usePolling } from '../app/polling';
import { browserId } from '../app/session';
import { Empty } from '../ui/empty';
import { formatBytes, formatCount, formatSpan } from '../ui/format';

/** One connection to the server, as it describes it. */
interface ConnectionRow {
  id: string;
  /** The number by which the flight recorder names it. */
  conn?: number;
  user: Record<string, unknown> | null;
  address: string;
  connected: number;
  subs: number;
  send?: Traffic;
  recv?: Traffic;
  egress?: Traffic;
  browser_id?: string;
}

interface Traffic {
  messages: number;
  bytes: number;
}

type Column = 'user' | 'address' | 'connected' | 'subs' | 'send' | 'egress';

const COLUMNS: { column: Column; label: string; numeric: boolean }[] = [
  { column: 'user', label: 'Who', numeric: false },
  { column: 'address', label: 'Address', numeric: false },
  { column: 'connected', label: 'Connected for', numeric: true },
  { column: 'subs', label: 'Subscriptions', numeric: true },
  { column: 'send', label: 'Published', numeric: true },
  { column: 'egress', label: 'Sent to it', numeric: true },
];

const rows = signal<ConnectionRow[] | undefined>(undefined);
const order = signal<{ column: Column; descending: boolean }>({ column: 'connected', descending: true });
const never = signal(false);
const POLL_INTERVAL_MS = 2000;

/** Everybody who is connected to the server, live. */
export function ConnectionsView(): JSX.Element {
  const error = useSignal('');
  const poll = useCallback(async () => {
    const list = await callOutpost('connections');
    rows.value = Array.isArray(list) ? (list as ConnectionRow[]) : [];
  }, []);
  usePolling(poll, POLL_INTERVAL_MS, never, error);
  const list = rows.value;
  return (
    <main class="page">
      <header class="page-header">
        <h1>Connections</h1>
        <p class="muted" role="status">
          {list ? `${list.length} ${list.length === 1 ? 'connection' : 'connections'}` : 'Loading…'}
        </p>
      </header>
      {error.value && (
        <p class="notice" role="alert">
          The list can’t be fetched: {error.value}
        </p>
      )}
      {list && <Table list={list} />}
    </main>
  );
}

function Table({ list }: { list: ConnectionRow[] }): JSX.Element {
  if (list.length === 0) return <Empty title="Nobody is connected." />;
  const { column, descending } = order.value;
  const sorted = [...list].sort((a, b) => compare(sortKey(a, column), sortKey(b, column)) * (descending ? -1 : 1));
  return (
    <div class="panel table-scroll" tabIndex={0} role="region" aria-label="Connections">
      <table class="table">
        <thead>
          <tr>
            {COLUMNS.map((item) => (
              <Heading key={item.column} {...item} />
            ))}
          </tr>
        </thead>
        <tbody>
          {sorted.map((row) => (
            <Row key={row.id} row={row} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Heading({ column, label, numeric }: { column: Column; label: string; numeric: boolean }): JSX.Element {
  const { column: current, descending } = order.value;
  const sorted = column === current;
  return (
    <th
      scope="col"
      class={numeric ? 'numeric' : ''}
      aria-sort={sorted ? (descending ? 'descending' : 'ascending') : 'none'}
    >
      <button
        type="button"
        class="sort"
        onClick={() => (order.value = { column, descending: sorted ? !descending : numeric })}
      >
        {label}
      </button>
    </th>
  );
}

function Row({ row }: { row: ConnectionRow }): JSX.Element {
  const own = row.browser_id === browserId;
  return (
    <tr>
      <td>
        {userName(row.user)} {own && <span class="badge">this page</span>}
        <span class="subtle mono">{row.conn === undefined ? row.id : `#${row.conn} ${row.id}`}</span>
      </td>
      <td class="mono">{row.address}</td>
      <td class="numeric">{formatSpan(Date.now() - row.connected)}</td>
      <td class="numeric">{formatCount(row.subs)}</td>
      <TrafficCell traffic={row.send} />
      <TrafficCell traffic={row.egress ?? row.recv} />
    </tr>
  );
}

function TrafficCell({ traffic }: { traffic: Traffic | undefined }): JSX.Element {
  if (!traffic) return <td class="numeric muted">–</td>;
  return (
    <td class="numeric">
      {formatCount(traffic.messages)}
      <span class="subtle">{formatBytes(traffic.bytes)}</span>
    </td>
  );
}

function sortKey(row: ConnectionRow, column: Column): number | string {
  switch (column) {
    case 'user':
      return userName(row.user);
    case 'address':
      return row.address;
    case 'connected':
      return -row.connected;
    case 'subs':
      return row.subs;
    case 'send':
      return row.send?.bytes ?? 0;
    case 'egress':
      return (row.egress ?? row.recv)?.bytes ?? 0;
  }
}

function compare(a: number | string, b: number | string): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
}

/** A user object in few words. */
function userName(user: Record<string, unknown> | null): string {
  if (!user) return 'anyone';
  const [kind, id] = Object.entries(user).find(([key]) => key.endsWith('_id')) ?? [];
  if (kind === undefined) return typeof user.error === 'string' ? 'not signed in' : 'unknown';
  const name = kind.slice(0, -3);
  return name === 'hub' ? `hub ${String(id)}` : name;
}
