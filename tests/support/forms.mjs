// Uploads as a page makes them: forms with one file, large files piece by piece.

import http from 'node:http';
import { randomUUID } from 'node:crypto';

/** The size of a piece in the reference's frontend. */
export const PIECE = 8_000_000;

/** A form with these text fields and, behind them, a file. */
export function form(content, { name = 'file.bin', part = 'file', fields = {} } = {}) {
  const form = new FormData();
  for (const [field, value] of Object.entries(fields)) form.append(field, String(value));
  form.append(part, new Blob([content]), name);
  return form;
}

/** The fields that go with piece `index` of `total`. */
export function fieldsOf(dzuuid, index, total, piece = PIECE) {
  return {
    dzuuid,
    dzchunkindex: index,
    dztotalchunkcount: total,
    dzchunksize: piece,
    dzchunkbyteoffset: index * piece,
  };
}

/** The forms in which a file of `size` bytes comes; `content(start, end)` gives its bytes. */
export function* pieces(size, content, { piece = PIECE, name, dzuuid = randomUUID(), fields = {} } = {}) {
  const total = Math.ceil(size / piece);
  for (let index = 0; index < total; index++) {
    const bytes = content(index * piece, Math.min(size, (index + 1) * piece));
    yield form(bytes, { name, fields: { ...fieldsOf(dzuuid, index, total, piece), dztotalfilesize: size, ...fields } });
  }
}

export function post(server, path, body, options = {}) {
  return server.fetch(path, { method: 'POST', body, signal: AbortSignal.timeout(60_000), ...options });
}

/** A request whose path is sent as it is; gives the answer with a body that can be paused. */
export function raw(server, path, { method = 'GET', headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port: server.port, path, method, headers, agent: false });
    request.on('response', resolve).on('error', reject).end();
  });
}

/** The body of an answer of `raw`. */
export async function bodyOf(response) {
  const parts = [];
  for await (const part of response) parts.push(part);
  return Buffer.concat(parts);
}
