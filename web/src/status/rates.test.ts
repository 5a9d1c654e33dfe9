import { expect, test } from 'vitest';
import { isStatus, ratesBetween, type Status } from './rates';

const status = (over: Partial<Status>): Status => ({
  time: 1_000_000,
  uptime_ms: 10_000,
  version: '0.1.0',
  server_id: '0',
  connections: 1,
  subscriptions: 2,
  messages_in: 100,
  messages_out: 200,
  bytes_in: 1000,
  bytes_out: 2000,
  drops: 0,
  slow_readers: 0,
  rss_bytes: 1,
  cpu_ms: 50,
  sessions: 0,
  ...over,
});

test('rates are per second of the server’s own clock', () => {
  const after = status({ uptime_ms: 12_000, messages_in: 300, bytes_out: 2500, cpu_ms: 1050, time: 1_002_000 });
  expect(ratesBetween(status({}), after)).toEqual({
    time: 1_002_000,
    messagesIn: 100,
    messagesOut: 0,
    bytesIn: 0,
    bytesOut: 250,
    cpu: 0.5,
  });
});

test('a restart and a long gap are holes', () => {
  expect(ratesBetween(status({}), status({ uptime_ms: 500 }))).toBeUndefined();
  expect(ratesBetween(status({}), status({ uptime_ms: 60_000 }))).toBeUndefined();
});

test('anything else is not a status', () => {
  expect(isStatus(status({}))).toBe(true);
  expect(isStatus(null)).toBe(false);
  expect(isStatus({ time: 1 })).toBe(false);
});
