import { useEffect, useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import { Empty } from '../ui/empty';
import { formatBytes } from '../ui/format';
import { Icon } from '../ui/icons';
import { Progress } from '../ui/progress';
import { data, type DataMessage } from './api';
import { encodingName } from './decode';
import { Time } from './list-parts';
import { useLoaded } from './load';
import { isTombstone } from './messages';
import { Failure } from './streams';
import { ValueTree } from './value-tree';
import { ValueView } from './value';

interface Props {
  path: string;
  seq: number;
  close: () => void;
  remove: () => void;
}

/** One message: what it says, and everything that is known about it. */
export function MessageDetail({ path, seq, close, remove }: Props): JSX.Element {
  const { value, current, busy, error, reload } = useLoaded(`${path}/${seq}`, () => data.message(path, seq), Infinity);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <section class="panel detail" aria-label={`Message ${seq}`}>
      <header class="detail-header">
        <h2 tabIndex={-1} ref={heading}>
          Message {seq}
        </h2>
        {value && (
          <button
            type="button"
            class="button button-icon"
            aria-label="Delete this message"
            title="Delete"
            onClick={remove}
          >
            <Icon name="trash" />
          </button>
        )}
        <button type="button" class="button button-icon" aria-label="Close" title="Close (Esc)" onClick={close}>
          <Icon name="close" />
        </button>
      </header>
      {error !== '' && <Failure what="The message" error={error} retry={reload} />}
      {busy && <Progress label="Loading the message" />}
      {current && value === null && (
        <Empty title="This message is not there any more.">
          <p class="muted">It was deleted, replaced by a newer one of the same key, or has expired.</p>
        </Empty>
      )}
      {value && <Content path={path} message={value} />}
    </section>
  );
}

function Content({ path, message }: { path: string; message: DataMessage }): JSX.Element {
  const { seq, time, key, encoding, size, headers } = message;
  return (
    <>
      <dl class="detail-facts">
        {key !== undefined && (
          <div>
            <dt>Key</dt>
            <dd class="mono">{key === '' ? <span class="muted">empty</span> : key}</dd>
          </div>
        )}
        <div>
          <dt>Time</dt>
          <dd>
            <Time ms={time} />
          </dd>
        </div>
        <div>
          <dt>Encoding</dt>
          <dd>{encodingName(encoding)}</dd>
        </div>
        <div>
          <dt>Size</dt>
          <dd>{formatBytes(size)}</dd>
        </div>
      </dl>
      {isTombstone(message) && <p class="tombstone">A tombstone: this key is deleted.</p>}
      {headers && Object.keys(headers).length > 0 && (
        <details class="detail-part" open>
          <summary>Headers</summary>
          <ValueTree value={headers} label="Headers" />
        </details>
      )}
      <ValueView key={seq} path={path} message={message} />
    </>
  );
}
