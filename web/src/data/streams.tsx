import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { JSX } from 'preact';
import { hrefOf } from '../app/route';
import { Empty } from '../ui/empty';
import { formatBytes } from '../ui/format';
import { Progress } from '../ui/progress';
import { abbreviate } from '../flight/record';
import { data, type Query, type StreamSummary, type Streams } from './api';
import { focusRow, useListKeys } from './list-keys';
import { FilterField, PAGE_ROWS, Pager, SortHeading, Time, turnPage, type Column } from './list-parts';
import { useLoaded } from './load';

const COLUMNS: Column[] = [
  { sort: 'path', label: 'Path' },
  { sort: 'count', label: 'Messages', numeric: true },
  { sort: 'bytes', label: 'Size', numeric: true },
  { sort: 'changed', label: 'Last change', numeric: true, class: 'wide-only' },
];

/** Kept while one looks at a stream and comes back. */
const query = signal<Query>({ filter: '', sort: 'path', descending: false, offset: 0, limit: PAGE_ROWS });

/** What was shown last, to be there at once when one comes back. */
let kept: Streams | undefined;
/** The stream one comes back from. */
let origin: string | undefined;

/** The list, when it is shown again, begins at this stream. */
export function comeBackTo(path: string): void {
  origin = path;
}

/** All streams and stores of the server. */
export function StreamsView(): JSX.Element {
  const asked = query.value;
  const { value: loaded, busy, error, reload } = useLoaded(JSON.stringify(asked), () => data.streams(asked));
  if (loaded) kept = loaded;
  const value = loaded ?? kept;
  const total = value?.total ?? 0;
  useListKeys({ page: (step) => turnPage(query, total, step) });
  return (
    <>
      <header class="page-header">
        <h1>Streams and stores</h1>
        <p class="muted" role="status">
          {value && <Totals total={total} all={value.all} filtered={asked.filter !== ''} />}
        </p>
      </header>
      <div class="toolbar" role="search">
        <FilterField query={query} label="Filter by path" />
      </div>
      {error !== '' && <Failure what="The list" error={error} retry={reload} />}
      {busy && <Progress label="Loading streams" />}
      {value && <List streams={value.streams} total={total} />}
    </>
  );
}

function Totals({ total, all, filtered }: { total: number; all: Streams['all']; filtered: boolean }): JSX.Element {
  const streams = `${total.toLocaleString()} ${total === 1 ? 'stream' : 'streams'}`;
  if (filtered) return <>{streams} with this in their path</>;
  const messages = `${all.count.toLocaleString()} ${all.count === 1 ? 'message' : 'messages'}`;
  return <>{[streams, messages, formatBytes(all.bytes)].join(' · ')}</>;
}

/** What went wrong, and the way to try again. */
export function Failure({ what, error, retry }: { what: string; error: string; retry: () => void }): JSX.Element {
  return (
    <div class="notice notice-action" role="alert">
      <span>
        {what} can’t be fetched: {error}
      </span>
      <button type="button" class="button button-small" onClick={retry}>
        Try again
      </button>
    </div>
  );
}

function List({ streams, total }: { streams: StreamSummary[]; total: number }): JSX.Element {
  useEffect(() => {
    if (origin !== undefined) focusRow(origin);
    origin = undefined;
  }, []);
  if (streams.length === 0) {
    if (query.value.offset > 0 && total > 0) return <Pager query={query} total={total} />;
    return query.value.filter === '' ? (
      <Empty title="There are no streams yet.">
        <p class="muted">They appear as programs and pages keep something on this server.</p>
      </Empty>
    ) : (
      <Empty title="No path has this in it.">
        <button type="button" class="button" onClick={() => (query.value = { ...query.value, filter: '', offset: 0 })}>
          Show all
        </button>
      </Empty>
    );
  }
  return (
    <>
      <div class="panel table-scroll">
        <table class="table" aria-label="Streams and stores">
          <thead>
            <tr>
              {COLUMNS.map((column) => (
                <SortHeading key={column.sort} query={query} column={column} />
              ))}
            </tr>
          </thead>
          <tbody>
            {streams.map((stream, index) => (
              <tr key={stream.path} class="row">
                <td class="row-main">
                  <a
                    class="row-link mono"
                    title={stream.path}
                    aria-label={stream.path}
                    data-row={stream.path}
                    tabIndex={index === 0 ? 0 : -1}
                    href={hrefOf({ view: 'data', data: { section: 'streams', stream: stream.path } })}
                  >
                    <Path path={stream.path} />
                  </a>{' '}
                  {stream.ephemeral && <span class="badge">in memory</span>}
                </td>
                <td class="numeric">{stream.count.toLocaleString()}</td>
                <td class="numeric">{formatBytes(stream.bytes)}</td>
                <td class="numeric wide-only">
                  <Time ms={stream.changed} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <Pager query={query} total={total} />
    </>
  );
}

/** Whose it is, and what it is called; where there is little room, the owner's id is cut short. */
export function Path({ path }: { path: string }): JSX.Element {
  const [, owner = '', name = path] = /^((?:accounts|projects|hosts)\/[^/]+\/)(.+)$/u.exec(path) ?? [];
  return (
    <>
      <span class="path-owner path-whole">{owner}</span>
      <span class="path-owner path-short">{abbreviate(owner)}</span>
      {name}
    </>
  );
}
