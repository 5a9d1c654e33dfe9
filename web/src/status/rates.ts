/** What the server publishes about itself every second. Counters count from its start. */
export interface Status {
  time: number;
  uptime_ms: number;
  version: string;
  server_id: string;
  connections: number;
  subscriptions: number;
  messages_in: number;
  messages_out: number;
  bytes_in: number;
  bytes_out: number;
  drops: number;
  slow_readers: number;
  rss_bytes: number;
  cpu_ms: number;
  sessions: number;
}

/** What happened per second between two samples. */
export interface Rates {
  time: number;
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
  /** Share of one core, 0 … 1 and beyond. */
  cpu: number;
}

/** Longer than this between two samples is a hole, not a slow second. */
const MAX_GAP_MS = 10_000;

/** Is this a status, as far as the numbers go? */
export function isStatus(value: unknown): value is Status {
  if (typeof value !== 'object' || value === null) return false;
  const status = value as Record<string, unknown>;
  return ['time', 'uptime_ms', 'connections', 'messages_in'].every((key) => typeof status[key] === 'number');
}

/** The rates between two samples; nothing when the server was restarted or samples are missing. */
export function ratesBetween(before: Status, after: Status): Rates | undefined {
  const elapsed = after.uptime_ms - before.uptime_ms;
  if (elapsed <= 0 || elapsed > MAX_GAP_MS) return undefined;
  const perSecond = (from: number, to: number) => (Math.max(0, to - from) * 1000) / elapsed;
  return {
    time: after.time,
    messagesIn: perSecond(before.messages_in, after.messages_in),
    messagesOut: perSecond(before.messages_out, after.messages_out),
    bytesIn: perSecond(before.bytes_in, after.bytes_in),
    bytesOut: perSecond(before.bytes_out, after.bytes_out),
    cpu: Math.max(0, after.cpu_ms - before.cpu_ms) / elapsed,
  };
}
