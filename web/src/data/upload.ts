import { signal } from '@preact/signals';
import { basePath } from '../app/base';

/** The server takes no larger ones. */
export const MAX_BLOB_BYTES = 25_000_000;
/** Larger files are sent in parts of this size, as other clients do. */
const PART_BYTES = 8_000_000;

/** A file on its way. */
export interface Upload {
  id: number;
  name: string;
  size: number;
  /** From 0 to 1. */
  progress: number;
  state: 'waiting' | 'sending' | 'done' | 'failed';
  error?: string;
  uuid?: string;
  /** Stops it. */
  cancel: () => void;
}

/** All uploads of this visit, the newest first; they go on while another view is shown. */
export const uploads = signal<Upload[]>([]);

let lastId = 0;
let chain: Promise<void> = Promise.resolve();

/** Sends files, one after the other; `stored` is called for each that has arrived. */
export function uploadFiles(files: Iterable<File>, stored: () => void): void {
  for (const file of files) {
    const controller = new AbortController();
    const id = ++lastId;
    const upload: Upload = {
      id,
      name: file.name,
      size: file.size,
      progress: 0,
      state: 'waiting',
      cancel: () => controller.abort(),
    };
    uploads.value = [upload, ...uploads.value];
    const change = (fields: Partial<Upload>) => {
      uploads.value = uploads.value.map((item) => (item.id === id ? { ...item, ...fields } : item));
    };
    const refusal = refuse(file);
    if (refusal !== undefined) {
      change({ state: 'failed', error: refusal });
      continue;
    }
    controller.signal.addEventListener('abort', () => dismiss(id));
    chain = chain.then(async () => {
      if (controller.signal.aborted) return;
      change({ state: 'sending' });
      try {
        const uuid = await send(file, controller.signal, (bytes) => change({ progress: bytes / file.size }));
        change({ state: 'done', progress: 1, uuid });
        stored();
      } catch (error) {
        change({ state: 'failed', error: error instanceof Error ? error.message : String(error) });
      }
    });
  }
}

/** Takes an upload off the list. */
export function dismiss(id: number): void {
  uploads.value = uploads.value.filter((item) => item.id !== id);
}

/** Why a file can't be sent at all. */
export function refuse({ size }: { size: number }): string | undefined {
  if (size === 0) return 'The file is empty (or a folder).';
  return size > MAX_BLOB_BYTES ? 'The file is too large: at most 25 MB are stored.' : undefined;
}

/** Where each part of a file begins and ends. */
export function partsOf(size: number): [number, number][] {
  const count = Math.max(1, Math.ceil(size / PART_BYTES));
  return Array.from({ length: count }, (_, index) => [index * PART_BYTES, Math.min(size, (index + 1) * PART_BYTES)]);
}

async function send(file: File, signal: AbortSignal, progress: (bytes: number) => void): Promise<string> {
  const parts = partsOf(file.size);
  const id = crypto.getRandomValues(new Uint32Array(4)).join('-');
  let answer = '';
  for (const [index, [start, end]] of parts.entries()) {
    const form = new FormData();
    if (parts.length > 1) {
      // The bookkeeping comes before the content, so that the server knows where it belongs.
      const fields = {
        dzuuid: id,
        dzchunkindex: index,
        dztotalfilesize: file.size,
        dzchunksize: PART_BYTES,
        dztotalchunkcount: parts.length,
        dzchunkbyteoffset: start,
      };
      for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
    }
    form.append('file', file.slice(start, end), file.name);
    answer = await post(form, signal, (bytes) => progress(Math.min(start + bytes, file.size)));
  }
  const { uuid } = JSON.parse(answer) as { uuid?: unknown };
  if (typeof uuid !== 'string') throw new Error('The server did not say what it stored.');
  return uuid;
}

/** `fetch` does not tell how far an upload has come. */
function post(form: FormData, signal: AbortSignal, progress: (bytes: number) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', `${basePath(location.pathname)}/blobs`);
    request.upload.onprogress = ({ loaded }) => progress(loaded);
    request.onload = () => {
      if (request.status === 200) resolve(request.responseText);
      else reject(new Error(wordsFor(request.status, request.responseText)));
    };
    request.onerror = () => reject(new Error('The connection was lost; try again.'));
    request.onabort = () => reject(new Error('Stopped.'));
    signal.addEventListener('abort', () => request.abort());
    request.send(form);
  });
}

function wordsFor(status: number, text: string): string {
  if (status === 401) return 'This page is not signed in any more.';
  if (status === 404 || status === 405) return 'This server stores no blobs.';
  if (status === 413) return 'The file is too large for this server.';
  const plain = text.length < 200 && !text.includes('<') ? text.trim() : '';
  return plain === '' ? `The server answered ${status}.` : plain;
}
