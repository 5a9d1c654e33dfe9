import { matches } from '../bus/subject';

/** What the server remembers of one message: everything but its content. */
export interface FlightRecord {
  n: number;
  time: number;
  subject: string;
  bytes: number;
  headers: string[];
  encoding?: number;
  /** The number of the connection that published it. */
  from: number;
  to: { pattern: string; conn: number }[];
  count: number;
  micros: number;
}

/** The newest records, as many as the server keeps by default. */
export const MAX_RECORDS = 4096;

/** A subject with its UUIDs cut short, so that a line shows what tells subjects apart. */
export function abbreviate(subject: string): string {
  return subject.replace(/([\da-f]{8})-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/gu, '$1…');
}

/** Adds new records, oldest first, without ever having one twice, and lets the oldest go. */
export function append(records: FlightRecord[], added: FlightRecord[]): FlightRecord[] {
  const last = records.at(-1)?.n ?? -1;
  const fresh = added.filter(({ n }) => n > last);
  return fresh.length === 0 ? records : [...records, ...fresh].slice(-MAX_RECORDS);
}

/**
 * Does a record pass the filter? Words are looked for in the subject and the headers' names, or are a connection's number;
 * a word with `*` or `>` as a token is a pattern for the subject; a leading `-` turns a word round.
 */
export function passes(record: FlightRecord, filter: string): boolean {
  return filter
    .split(/\s+/u)
    .filter((word) => word !== '' && word !== '-')
    .every((word) => (word.startsWith('-') ? !hit(record, word.slice(1)) : hit(record, word)));
}

function hit(record: FlightRecord, word: string): boolean {
  if (word.split('.').some((token) => token === '*' || token === '>')) return matches(word, record.subject);
  const lower = word.toLowerCase();
  if ([record.subject, ...record.headers].some((text) => text.toLowerCase().includes(lower))) return true;
  return [record.from, ...record.to.map(({ conn }) => conn)].some(
    (conn) => `#${conn}` === word || String(conn) === word,
  );
}
