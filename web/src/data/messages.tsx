import type { Signal } from '@preact/signals';
import type { JSX } from 'preact';
import { hrefOf, type DataPlace } from '../app/route';
import { Empty } from '../ui/empty';
import { formatBytes } from '../ui/format';
import { Progress } from '../ui/progress';
import type { DataMessage, Messages, Query } from './api';
import { decodeValue, encodingName, text } from './decode';
import { SortHeading, Time } from './list-parts';
import type { Tail } from './tail';

interface TableProps {
  query: Signal<Query>;
  list: Messages;
  place: DataPlace;
  selected: number | undefined;
}

/** A page of a stream's messages. */
export function MessageTable({ query, list, place, selected }: TableProps): JSX.Element | null {
  if (list.messages.length === 0) {
    if (list.total > 0) return null;
    return query.value.filter === '' ? (
      <Empty title="There are no messages." />
    ) : (
      <Empty title="No key has this in it.">
        <button type="button" class="button" onClick={() => (query.value = { ...query.value, filter: '', offset: 0 })}>
          Show all messages
        </button>
      </Empty>
    );
  }
  const keyed = list.messages.some(({ key }) => key !== undefined);
  return (
    <div class="panel table-scroll">
      <table class="table table-dense messages" aria-label="Messages">
        <thead>
          <tr>
            <SortHeading query={query} column={{ sort: 'seq', label: 'No.', numeric: true }} />
            {keyed && <SortHeading query={query} column={{ sort: 'key', label: 'Key' }} />}
            <th scope="col">Value</th>
            <SortHeading query={query} column={{ sort: 'size', label: 'Size', numeric: true }} />
            <th scope="col" class="numeric wide-only">
              Time
            </th>
          </tr>
        </thead>
        <tbody>
          {list.messages.map((message, index) => (
            <Row
              key={message.seq}
              message={message}
              place={place}
              keyed={keyed}
              first={index === 0}
              selected={message.seq === selected}
            />
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The newest messages of a stream, and what comes. */
export function TailTable(props: { tail: Tail; place: DataPlace; selected: number | undefined }): JSX.Element {
  const { tail, place, selected } = props;
  const rows = tail.rows.value;
  const keyed = rows.some((row) => row.kind === 'message' && row.message.key !== undefined);
  return (
    <>
      <p class="live" role="status" data-live={tail.live.value}>
        {tail.live.value ? 'Live: new messages appear on top.' : 'Waiting for the server…'}
      </p>
      {tail.error.value !== '' && (
        <p class="notice" role="alert">
          This stream can’t be followed: {tail.error.value}
        </p>
      )}
      {!tail.live.value && rows.length === 0 && tail.error.value === '' && <Progress label="Beginning to follow" />}
      {tail.live.value && rows.length === 0 && (
        <Empty title="There are no messages yet.">
          <p class="muted">The first one will appear here.</p>
        </Empty>
      )}
      {rows.length > 0 && (
        <div class="panel table-scroll">
          <table class="table table-dense messages" aria-label="Live messages">
            <thead>
              <tr>
                <th scope="col" class="numeric">
                  No.
                </th>
                {keyed && <th scope="col">Key</th>}
                <th scope="col">Value</th>
                <th scope="col" class="numeric">
                  Size
                </th>
                <th scope="col" class="numeric wide-only">
                  Time
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row, index) =>
                row.kind === 'skipped' ? (
                  <tr key={row.id} class="skipped">
                    <td colSpan={keyed ? 5 : 4}>
                      {row.count === undefined
                        ? 'Some messages were left out: there were too many.'
                        : `${row.count.toLocaleString()} left out: they came too fast to be shown.`}
                    </td>
                  </tr>
                ) : (
                  <Row
                    key={row.message.seq}
                    message={row.message}
                    place={place}
                    keyed={keyed}
                    first={index === 0}
                    selected={row.message.seq === selected}
                    deleted={row.deleted}
                    fresh={row.fresh}
                  />
                ),
              )}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

interface RowProps {
  message: DataMessage;
  place: DataPlace;
  keyed: boolean;
  first: boolean;
  selected: boolean;
  deleted?: boolean;
  fresh?: boolean;
}

function Row(props: RowProps): JSX.Element {
  const { message, place, keyed, first, selected, deleted = false, fresh = false } = props;
  const { seq, key, size, time } = message;
  return (
    <tr class="row" data-selected={selected} data-deleted={deleted} data-fresh={fresh}>
      <td class="numeric">
        <a
          class="row-link"
          data-row={seq}
          tabIndex={first ? 0 : -1}
          aria-current={selected ? 'true' : undefined}
          href={hrefOf({ view: 'data', data: { ...place, seq } })}
          aria-label={`Message ${seq}${deleted ? ', deleted' : ''}`}
        >
          {seq}
        </a>
      </td>
      {keyed && (
        <td class="mono message-key" title={key}>
          {key ?? <span class="muted">–</span>}
        </td>
      )}
      <td class="mono message-preview">
        {deleted ? <span class="muted">deleted</span> : <Preview message={message} />}
      </td>
      <td class="numeric">{formatBytes(size)}</td>
      <td class="numeric wide-only">
        <Time ms={time} />
      </td>
    </tr>
  );
}

/** A value in one line, as far as its beginning tells. */
function Preview({ message }: { message: DataMessage }): JSX.Element {
  if (isTombstone(message)) return <span class="badge badge-quiet">tombstone</span>;
  const { encoding, raw, size } = message;
  const whole = raw.length >= size;
  if (whole) {
    const decoded = decodeValue(encoding, raw);
    return decoded.ok ? (
      <>{text(decoded.value)}</>
    ) : (
      <span class="muted">{formatBytes(size)} that can’t be decoded</span>
    );
  }
  if (encoding === 1) return <>{new TextDecoder().decode(raw.subarray(0, 160))}…</>;
  return <span class="muted">{`${encodingName(encoding)}, ${formatBytes(size)}`}</span>;
}

/** In a store, a tombstone says that the key is deleted. */
export function isTombstone({ headers }: DataMessage): boolean {
  return headers?.['CN-Tombstone'] === true;
}
