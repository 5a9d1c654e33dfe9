import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import { hrefOf, navigate } from '../app/route';
import { formatBytes } from '../ui/format';
import { Icon } from '../ui/icons';
import { Progress } from '../ui/progress';
import { data, type Query, type StreamInfo } from './api';
import { Confirm } from './confirm';
import { focusRow, useListKeys } from './list-keys';
import { FilterField, PAGE_ROWS, Pager, turnPage } from './list-parts';
import { useLoaded } from './load';
import { MessageDetail } from './message';
import { MessageTable, TailTable } from './messages';
import { comeBackTo, Failure, Path } from './streams';
import { Tail } from './tail';
import { ValueTree } from './value-tree';

interface Props {
  path: string;
  seq: number | undefined;
}

/** One stream: what is in it, what comes, and one message of it. */
export function StreamView({ path, seq }: Props): JSX.Element {
  const query = useSignal<Query>({ filter: '', sort: 'seq', descending: true, offset: 0, limit: PAGE_ROWS });
  const following = useSignal(false);
  const doomed = useSignal<number | undefined>(undefined);
  const heading = useRef<HTMLHeadingElement>(null);
  const info = useLoaded(path, () => data.stream(path));
  const asked = query.value;
  const list = useLoaded(JSON.stringify(asked), () => data.messages(path, asked));
  const tail = useMemo(() => (following.value ? new Tail(path) : undefined), [following.value, path]);
  useEffect(() => () => tail?.stop(), [tail]);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);

  const total = list.value?.total ?? 0;
  const keyed = asked.filter !== '' || (list.value?.messages.some(({ key }) => key !== undefined) ?? false);
  const place = { section: 'streams', stream: path } as const;
  const close = () => navigate({ view: 'data', data: place });
  // Who comes back from a message goes on where they were.
  const before = useRef(seq);
  useEffect(() => {
    if (seq === undefined && before.current !== undefined) focusRow(String(before.current));
    before.current = seq;
  }, [seq]);
  useListKeys({
    back: () => {
      if (seq !== undefined) close();
      else {
        comeBackTo(path);
        navigate({ view: 'data', data: { section: 'streams' } });
      }
    },
    page: (step) => turnPage(query, total, step),
    remove: (row) => (doomed.value = Number(row)),
  });

  const remove = async (gone: number) => {
    await data.remove(path, [gone]);
    list.reload();
    info.reload();
    if (gone === seq) close();
  };

  return (
    <>
      <header class="page-header stream-header">
        <a class="back-link" href={hrefOf({ view: 'data' })}>
          <Icon name="back" />
          <span class="visually-hidden">All streams</span>
        </a>
        <h1 class="mono" aria-label={path} title={path} tabIndex={-1} ref={heading}>
          <Path path={path} />
        </h1>
        {info.value && <Facts info={info.value} />}
      </header>
      {info.error !== '' && <Failure what="This stream" error={info.error} retry={info.reload} />}
      <div class="stream-body" hidden={!info.value && info.error !== ''} data-detail={seq !== undefined}>
        <section class="stream-list" aria-label="Messages">
          <div class="toolbar" role="search">
            {keyed && <FilterField query={query} label="Filter by key" disabled={following.value} />}
            <button
              type="button"
              class="button"
              aria-pressed={following.value}
              onClick={() => (following.value = !following.value)}
            >
              <Icon name={following.value ? 'pause' : 'play'} />
              {following.value ? 'Stop following' : 'Follow live'}
            </button>
          </div>
          {list.error !== '' && !tail && info.error === '' && (
            <Failure what="The messages" error={list.error} retry={list.reload} />
          )}
          {tail ? (
            <TailTable tail={tail} place={place} selected={seq} />
          ) : (
            <>
              {list.busy && <Progress label="Loading messages" />}
              {list.value && <MessageTable query={query} list={list.value} place={place} selected={seq} />}
              {list.value && <Pager query={query} total={total} />}
            </>
          )}
        </section>
        {seq !== undefined && (
          <MessageDetail key={seq} path={path} seq={seq} close={close} remove={() => (doomed.value = seq)} />
        )}
      </div>
      {info.value && seq === undefined && <About info={info.value} />}
      {doomed.value !== undefined && (
        <DeleteMessage seq={doomed.value} act={remove} close={() => (doomed.value = undefined)} />
      )}
    </>
  );
}

function Facts({ info }: { info: StreamInfo }): JSX.Element {
  return (
    <p class="muted">
      <span data-fact="count">{info.count.toLocaleString()}</span> {info.count === 1 ? 'message' : 'messages'} ·{' '}
      {formatBytes(info.bytes)} · newest number {info.seq.toLocaleString()}
      {info.ephemeral && (
        <>
          {' '}
          <span class="badge">in memory</span>
        </>
      )}
    </p>
  );
}

/** What a stream is set to do, and what is written about it. */
function About({ info }: { info: StreamInfo }): JSX.Element {
  const parts: [string, unknown][] = [
    ['Configuration', info.config],
    ...(info.metadata == null ? [] : ([['Metadata', info.metadata]] satisfies [string, unknown][])),
    ...(Object.keys(info.checkpoints).length === 0
      ? []
      : ([['Checkpoints', info.checkpoints]] satisfies [string, unknown][])),
  ];
  return (
    <section class="panel about" aria-label="About this stream">
      {parts.map(([label, value]) => (
        <details key={label}>
          <summary>{label}</summary>
          <ValueTree value={value} label={label} />
        </details>
      ))}
    </section>
  );
}

interface DeleteProps {
  seq: number;
  act: (seq: number) => Promise<void>;
  close: () => void;
}

function DeleteMessage({ seq, act, close }: DeleteProps): JSX.Element {
  return (
    <Confirm
      title={`Delete message ${seq}?`}
      text="Programs that use this stream will no longer find it. It can’t be brought back."
      action="Delete"
      act={() => act(seq)}
      close={close}
    />
  );
}
