import type { DataMessage } from './api';

/** What the server publishes of a stream that is followed. */
export type TailEvent =
  ({ op: 'set' } & DataMessage) | { op: 'delete'; seqs: number[] } | { op: 'skipped'; count?: number };

/** A line of the live view, the newest first. */
export type TailRow =
  | { kind: 'message'; message: DataMessage; deleted: boolean; fresh: boolean }
  | { kind: 'skipped'; id: string; count: number | undefined };

/** Lines kept. */
export const MAX_ROWS = 500;

/** Puts events on top, as they came. A message that is there already stays; one whose key is written anew is marked deleted. */
export function applyEvents(rows: TailRow[], events: TailEvent[]): TailRow[] {
  let next = [...rows];
  for (const event of events) {
    if (event.op === 'delete') next = markDeleted(next, new Set(event.seqs));
    else if (event.op === 'skipped') next.unshift({ kind: 'skipped', id: `after-${newest(next)}`, count: event.count });
    else if (event.seq > newest(next)) {
      const message: DataMessage = { ...event };
      if (message.key !== undefined) next = replaced(next, message.key);
      next.unshift({ kind: 'message', message, deleted: false, fresh: true });
    }
  }
  return next.slice(0, MAX_ROWS);
}

/**
 * What is in the stream now, the newest first, meets what came meanwhile, or was there before the connection was lost.
 * `complete` says that `present` is all of it, `known` is the newest number from before.
 */
export function meet(rows: TailRow[], present: DataMessage[], complete: boolean, known = 0): TailRow[] {
  const last = newest(rows);
  const [top] = present;
  // A stream that counts from the beginning again, or has lost what is shown: nothing of it is worth keeping.
  if (top && top.seq < known && !has(rows, top.seq)) return present.map(asRow);
  const missing = present.filter(({ seq }) => !has(rows, seq));
  const above = missing.filter(({ seq }) => seq > last).map(asRow);
  const bottom = present.at(-1)?.seq ?? 0;
  if (rows.length > 0 && !complete && bottom > last + 1) {
    const marker: TailRow = { kind: 'skipped', id: `after-${last}`, count: undefined };
    return [...above, marker, ...rows].slice(0, MAX_ROWS);
  }
  const oldest = seqs(rows).at(-1) ?? 0;
  const below = missing.filter(({ seq }) => seq < oldest).map(asRow);
  return [...above, ...rows, ...below].slice(0, MAX_ROWS);
}

function asRow(message: DataMessage): TailRow {
  return { kind: 'message', message, deleted: false, fresh: false };
}

function seqs(rows: TailRow[]): number[] {
  return rows.flatMap((row) => (row.kind === 'message' ? [row.message.seq] : []));
}

/** The largest number that is shown. */
export function newest(rows: TailRow[]): number {
  const row = rows.find(({ kind }) => kind === 'message');
  return row?.kind === 'message' ? row.message.seq : 0;
}

function has(rows: TailRow[], seq: number): boolean {
  return rows.some((row) => row.kind === 'message' && row.message.seq === seq);
}

function markDeleted(rows: TailRow[], gone: ReadonlySet<number>): TailRow[] {
  return rows.map((row) => (row.kind === 'message' && gone.has(row.message.seq) ? { ...row, deleted: true } : row));
}

function replaced(rows: TailRow[], key: string): TailRow[] {
  return rows.map((row) => (row.kind === 'message' && row.message.key === key ? { ...row, deleted: true } : row));
}
