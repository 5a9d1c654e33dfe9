import { computed, signal } from '@preact/signals';
import { callOutpost } from '../app/api';
import { accountId, client } from '../app/session';
import { append, MAX_RECORDS, passes, type FlightRecord } from './record';

/** Everything fetched so far, oldest first. */
export const records = signal<FlightRecord[] | undefined>(undefined);

/** See {@link passes}. */
export const filter = signal('');

/** No new records while one looks at the old ones. */
export const paused = signal(false);

/** Looking at the recorder makes messages too; they are left out unless asked for. */
export const showOwn = signal(false);

let next = 0;

/** What the filter leaves. */
export const shown = computed(() =>
  (records.value ?? []).filter((record) => !isOwn(record) && passes(record, filter.value)),
);

function isOwn({ subject }: FlightRecord): boolean {
  if (showOwn.value) return false;
  return subject.startsWith(`outpost.account-${accountId.value ?? ''}.`) || subject.startsWith(`${client.inbox}.`);
}

/** Fetches what is new. A server that was restarted counts from the beginning, and so do we then. */
export async function fetchRecords(): Promise<void> {
  const answer = await fetchAfter(next);
  const restarted = answer.next < next;
  const { records: added, next: end } = restarted ? await fetchAfter(0) : answer;
  records.value = append(restarted ? [] : (records.peek() ?? []), added);
  next = end;
}

async function fetchAfter(after: number): Promise<{ next: number; records: FlightRecord[] }> {
  return (await callOutpost('flight', { after, limit: MAX_RECORDS })) as { next: number; records: FlightRecord[] };
}

/** Forgets what was fetched; what comes from now on is shown. */
export function clearRecords(): void {
  records.value = [];
}
