import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { usePolling } from '../app/polling';
import { Empty } from '../ui/empty';
import { formatBytes, formatClock } from '../ui/format';
import { Icon } from '../ui/icons';
import { exportRecords } from './export';
import { abbreviate, type FlightRecord } from './record';
import { clearRecords, fetchRecords, filter, paused, records, showOwn, shown } from './recorder';

const POLL_INTERVAL_MS = 1000;

/** More rows than anyone reads make the page slow; the export has them all. */
const MAX_ROWS = 300;

/** The last messages on the bus: who sent how much to whom, and how long it took to route. */
export function FlightView(): JSX.Element {
  const error = useSignal('');
  usePolling(fetchRecords, POLL_INTERVAL_MS, paused, error);
  return (
    <main class="page page-tall">
      <header class="page-header">
        <h1>Flight recorder</h1>
        <p class="muted">The last messages on the bus. Only metadata is recorded, never what a message says.</p>
      </header>
      <Toolbar />
      {error.value && (
        <p class="notice" role="alert">
          The recorder can’t be read: {error.value}
        </p>
      )}
      <Records failed={error.value !== ''} />
    </main>
  );
}

function Toolbar(): JSX.Element {
  const total = records.value?.length ?? 0;
  return (
    <div class="toolbar" role="search">
      <label class="field">
        <Icon name="search" />
        <span class="visually-hidden">Filter</span>
        <input
          type="search"
          placeholder="Filter"
          title="Part of a subject, a pattern such as a.*.>, a header, a connection’s number. -word leaves out."
          value={filter.value}
          spellcheck={false}
          autocapitalize="off"
          onInput={(event) => (filter.value = event.currentTarget.value)}
        />
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={showOwn.value}
          onChange={(event) => (showOwn.value = event.currentTarget.checked)}
        />
        Include this page’s
      </label>
      <p class="toolbar-count muted" role="status">
        {shown.value.length} of {total}
      </p>
      <div class="toolbar-buttons">
        <button type="button" class="button" aria-pressed={paused.value} onClick={() => (paused.value = !paused.value)}>
          <Icon name={paused.value ? 'play' : 'pause'} />
          {paused.value ? 'Go on' : 'Pause'}
        </button>
        <button type="button" class="button" disabled={total === 0} onClick={clearRecords}>
          Clear
        </button>
        <button
          type="button"
          class="button"
          disabled={shown.value.length === 0}
          onClick={() => exportRecords(shown.value, filter.value)}
        >
          <Icon name="download" />
          Export
        </button>
      </div>
    </div>
  );
}

function Records({ failed }: { failed: boolean }): JSX.Element | null {
  const open = useSignal<number | undefined>(undefined);
  if (!records.value) return failed ? null : <p class="muted">Loading…</p>;
  const list = shown.value.slice(-MAX_ROWS).reverse();
  if (list.length === 0) {
    return filter.value === '' ? (
      <Empty title="Nothing has been recorded yet.">
        <p class="muted">Messages appear here as they are routed.</p>
      </Empty>
    ) : (
      <Empty title="No record passes the filter.">
        <button type="button" class="button" onClick={() => (filter.value = '')}>
          Show everything
        </button>
      </Empty>
    );
  }
  return (
    <div class="panel table-scroll" tabIndex={0} role="region" aria-label="Records">
      <table class="table table-dense">
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Subject</th>
            <th scope="col" class="numeric">
              Size
            </th>
            <th scope="col" class="numeric">
              Receivers
            </th>
            <th scope="col" class="numeric">
              Routed in
            </th>
            <th scope="col">Headers</th>
          </tr>
        </thead>
        <tbody>
          {list.map((record) => (
            <Row
              key={record.n}
              record={record}
              open={open.value === record.n}
              toggle={() => (open.value = open.value === record.n ? undefined : record.n)}
            />
          ))}
        </tbody>
      </table>
      {shown.value.length > MAX_ROWS && (
        <p class="table-note muted">The newest {MAX_ROWS} are shown; the export has them all.</p>
      )}
    </div>
  );
}

const ENCODINGS: Record<number, string> = { 0: 'MessagePack', 1: 'JSON' };

function Row({ record, open, toggle }: { record: FlightRecord; open: boolean; toggle: () => void }): JSX.Element {
  return (
    <>
      <tr class="record" data-lost={record.count === 0}>
        <td class="mono">{formatClock(record.time)}</td>
        <td class="mono record-subject">
          <button type="button" class="record-button" aria-expanded={open} title={record.subject} onClick={toggle}>
            {open ? record.subject : abbreviate(record.subject)}
          </button>
        </td>
        <td class="numeric">{formatBytes(record.bytes)}</td>
        <td class="numeric">{record.count}</td>
        <td class="numeric">{record.micros} µs</td>
        <td class="mono muted nowrap">{record.headers.join(' ')}</td>
      </tr>
      {open && (
        <tr class="record-detail">
          <td colSpan={6}>
            <dl>
              <dt>Number</dt>
              <dd>{record.n}</dd>
              <dt>From</dt>
              <dd class="mono">#{record.from}</dd>
              <dt>To</dt>
              <dd class="mono">
                {record.to.length === 0
                  ? 'nobody'
                  : record.to.map(({ pattern, conn }) => <div>{`${pattern}  →  #${conn}`}</div>)}
              </dd>
              {record.encoding !== undefined && (
                <>
                  <dt>Encoding</dt>
                  <dd>{ENCODINGS[record.encoding] ?? record.encoding}</dd>
                </>
              )}
            </dl>
          </td>
        </tr>
      )}
    </>
  );
}
