import { signal, useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import { basePath } from '../app/base';
import { copyText } from '../ui/clipboard';
import { Empty } from '../ui/empty';
import { formatBytes } from '../ui/format';
import { Icon } from '../ui/icons';
import { Progress } from '../ui/progress';
import { data, type DataMessage, type Query } from './api';
import { blobHead, blobKind } from './blob-kind';
import { Confirm } from './confirm';
import { useListKeys } from './list-keys';
import { FilterField, PAGE_ROWS, Pager, SortHeading, Time, turnPage } from './list-parts';
import { useLoaded } from './load';
import { Failure } from './streams';
import { dismiss, uploadFiles, uploads, type Upload } from './upload';

const query = signal<Query>({ filter: '', sort: 'seq', descending: true, offset: 0, limit: PAGE_ROWS });

/** Pictures and attachments of documents; more can be dropped here. */
export function BlobsView(): JSX.Element {
  const asked = query.value;
  const { value, busy, error, reload } = useLoaded(JSON.stringify(asked), () => data.blobs(asked));
  const doomed = useSignal<string | undefined>(undefined);
  const total = value?.total ?? 0;
  useListKeys({ page: (step) => turnPage(query, total, step), remove: (row) => (doomed.value = row) });
  return (
    <>
      <header class="page-header">
        <h1>Blobs</h1>
        <p class="muted" role="status">
          {value ? `${total.toLocaleString()} ${total === 1 ? 'blob' : 'blobs'}` : ''}
        </p>
      </header>
      <DropZone stored={reload} />
      <Uploads />
      {(total > 0 || query.value.filter !== '') && (
        <div class="toolbar" role="search">
          <FilterField query={query} label="Filter by identifier" />
        </div>
      )}
      {error !== '' && <Failure what="The list" error={error} retry={reload} />}
      {busy && <Progress label="Loading blobs" />}
      {value && <List blobs={value.messages} total={total} remove={(uuid) => (doomed.value = uuid)} />}
      {doomed.value !== undefined && (
        <Confirm
          title="Delete this blob?"
          text="Documents that show it will show a gap instead. It can’t be brought back."
          action="Delete"
          act={async () => {
            await data.removeBlob(doomed.peek() ?? '');
            reload();
          }}
          close={() => (doomed.value = undefined)}
        />
      )}
    </>
  );
}

/** Takes files that are dropped on it, chosen, or pasted. */
function DropZone({ stored }: { stored: () => void }): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  const over = useSignal(false);
  const hold = (event: DragEvent) => {
    event.preventDefault();
    over.value = true;
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    over.value = false;
    uploadFiles(event.dataTransfer?.files ?? [], stored);
  };
  return (
    <div
      class="drop-zone"
      data-over={over.value}
      onDragEnter={hold}
      onDragOver={hold}
      onDragLeave={() => (over.value = false)}
      onDrop={drop}
    >
      <Icon name="upload" />
      <span>
        <span class="drop-words">Drop files here, or </span>
        <button type="button" class="link" onClick={() => field.current?.click()}>
          choose files
        </button>
      </span>
      <small class="muted">up to 25 MB each</small>
      <input
        ref={field}
        type="file"
        multiple
        hidden
        aria-label="Files to upload"
        onChange={({ currentTarget }) => {
          uploadFiles(currentTarget.files ?? [], stored);
          currentTarget.value = '';
        }}
      />
    </div>
  );
}

function Uploads(): JSX.Element | null {
  if (uploads.value.length === 0) return null;
  return (
    <ul class="panel uploads" aria-label="Uploads">
      {uploads.value.map((upload) => (
        <UploadRow key={upload.id} upload={upload} />
      ))}
    </ul>
  );
}

function UploadRow({ upload }: { upload: Upload }): JSX.Element {
  const { id, name, size, state, progress, error, uuid, cancel } = upload;
  const said = useSignal('');
  const under = state === 'sending' || state === 'waiting';
  const copy = async (text: string) => {
    said.value = (await copyText(text)) ? 'Link copied' : 'The browser does not allow copying';
  };
  return (
    <li data-state={state}>
      <span class="upload-name">{name}</span>
      <span class="muted" role="status">
        {said.value !== '' ? said.value : STATE[state](size)}
      </span>
      {uuid !== undefined && (
        <button
          type="button"
          class="button button-small"
          onClick={() => void copy(new URL(blobHref(uuid, name), location.href).href)}
        >
          <Icon name="copy" /> Copy link
        </button>
      )}
      <button
        type="button"
        class="button button-small"
        aria-label={under ? `Stop uploading ${name}` : `Take ${name} off this list`}
        onClick={() => (under ? cancel() : dismiss(id))}
      >
        {under ? 'Stop' : 'Dismiss'}
      </button>
      {state === 'sending' && <Progress label={`Uploading ${name}`} value={progress} />}
      {error !== undefined && (
        <p class="upload-error" role="alert">
          {error}
        </p>
      )}
    </li>
  );
}

const STATE: Record<Upload['state'], (size: number) => string> = {
  waiting: (size) => `${formatBytes(size)}, waiting`,
  sending: (size) => formatBytes(size),
  done: (size) => `${formatBytes(size)}, stored`,
  failed: () => 'not stored',
};

/** The address of a blob. The name is only for people and for the type. */
function blobHref(uuid: string, name: string): string {
  return `${basePath(location.pathname)}/blobs/${encodeURIComponent(name)}?uuid=${encodeURIComponent(uuid)}`;
}

interface ListProps {
  blobs: DataMessage[];
  total: number;
  remove: (uuid: string) => void;
}

function List({ blobs, total, remove }: ListProps): JSX.Element | null {
  if (blobs.length === 0) {
    if (query.value.offset > 0 && total > 0) return <Pager query={query} total={total} />;
    return query.value.filter === '' ? (
      <Empty title="There are no blobs yet.">
        <p class="muted">Pictures that are pasted into documents are kept here.</p>
      </Empty>
    ) : (
      <Empty title="No identifier has this in it.">
        <button type="button" class="button" onClick={() => (query.value = { ...query.value, filter: '', offset: 0 })}>
          Show all
        </button>
      </Empty>
    );
  }
  return (
    <>
      <div class="panel table-scroll">
        <table class="table" aria-label="Blobs">
          <thead>
            <tr>
              <SortHeading query={query} column={{ sort: 'key', label: 'Identifier' }} />
              <th scope="col" class="wide-only">
                Kind
              </th>
              <SortHeading query={query} column={{ sort: 'size', label: 'Size', numeric: true }} />
              <SortHeading query={query} column={{ sort: 'seq', label: 'Stored', numeric: true, class: 'wide-only' }} />
              <th scope="col">
                <span class="visually-hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {blobs.map((blob, index) => (
              <BlobRow key={blob.seq} blob={blob} first={index === 0} remove={remove} />
            ))}
          </tbody>
        </table>
      </div>
      <Pager query={query} total={total} />
    </>
  );
}

function BlobRow({ blob, first, remove }: { blob: DataMessage; first: boolean; remove: (uuid: string) => void }) {
  const uuid = blob.key ?? '';
  const head = blobHead(blob.raw);
  const { label, extension, image } = blobKind(head);
  const bytes = blob.size - (blob.raw.length - head.length);
  const href = blobHref(uuid, `${uuid.slice(0, 8)}.${extension}`);
  return (
    <tr class="row">
      <td class="row-main">
        <span class="blob-name">
          {image ? (
            <img src={href} alt="" loading="lazy" width="36" height="36" />
          ) : (
            <span class="blob-icon">{extension}</span>
          )}
          <a
            class="row-link mono"
            data-row={uuid}
            tabIndex={first ? 0 : -1}
            href={href}
            target="_blank"
            rel="noreferrer"
          >
            {uuid}
          </a>
        </span>
      </td>
      <td class="wide-only">{label}</td>
      <td class="numeric">{formatBytes(bytes)}</td>
      <td class="numeric wide-only">
        <Time ms={blob.time} />
      </td>
      <td class="row-actions">
        <button
          type="button"
          class="button button-icon"
          aria-label={`Delete ${uuid}`}
          title="Delete"
          onClick={() => remove(uuid)}
        >
          <Icon name="trash" />
        </button>
      </td>
    </tr>
  );
}
