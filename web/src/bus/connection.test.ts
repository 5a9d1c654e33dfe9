import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Connection, type Link } from './connection';
import { DisconnectedError } from './error';
import { TestBroker } from './testing/broker';

let broker: TestBroker;
let connection: Connection;
let links: Link[];

beforeEach(() => {
  vi.useFakeTimers();
  broker = new TestBroker();
  connection = new Connection({ url: 'ws://test/conat/', auth: { browser_id: 'browser' }, open: broker.open });
  links = [];
  connection.events.on('link', (link) => links.push(link));
});

afterEach(() => {
  connection.close();
  vi.useRealTimers();
});

const settle = () => vi.advanceTimersByTimeAsync(0);
const open = async () => {
  connection.open();
  await settle();
  expect(connection.link.phase).toBe('open');
};

describe('a connection', () => {
  test('signs on with its auth, and knows its sid', async () => {
    await open();
    expect(broker.connections[0]?.texts[0]).toBe('40{"browser_id":"browser"}');
    expect(connection.link).toEqual({ phase: 'open', sid: 'sid0' });
  });

  test('answers pings', async () => {
    await open();
    broker.connections[0]?.text('2');
    expect(broker.connections[0]?.texts.at(-1)).toBe('3');
  });

  test('resolves acknowledgements, and rejects with the error and code in them', async () => {
    await open();
    await expect(connection.request('subscriptions', null, 1000)).resolves.toEqual([]);
    broker.refuse = () => ({ error: 'Error: permission denied', code: 403 });
    await expect(connection.request('publish', ['a', 'i', 0, 1, 0, new Uint8Array(1)], 1000)).rejects.toMatchObject({
      code: 403,
    });
  });

  test('fails with 408 when no acknowledgement comes', async () => {
    await open();
    const answer = expect(connection.request('unheard-of', null, 1000)).rejects.toMatchObject({
      code: 408,
      message: expect.stringContaining('operation has timed out') as string,
    });
    await vi.advanceTimersByTimeAsync(1000);
    await answer;
  });

  test('fails what is in flight when the connection is lost', async () => {
    await open();
    const answer = expect(connection.request('unheard-of', null, 10_000)).rejects.toBeInstanceOf(DisconnectedError);
    broker.cut();
    await answer;
  });

  test('says goodbye when it is closed', async () => {
    await open();
    connection.close();
    expect(broker.connections[0]?.texts.at(-1)).toBe('41');
    expect(connection.link.phase).toBe('closed');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(broker.connections).toHaveLength(1);
  });
});

describe('reconnecting', () => {
  test('backs off from 500 ms to 15 s, within 50 %, for ever', async () => {
    broker.accepting = false;
    connection.open();
    await vi.advanceTimersByTimeAsync(10 * 60_000);
    const delays = links.flatMap((link, index) => {
      if (link.phase !== 'waiting') return [];
      // `retryAt` is absolute; the attempt number says which step of the back-off it was.
      return [{ attempt: link.attempt, nominal: Math.min(15_000, 500 * 2 ** (link.attempt - 1)), index }];
    });
    expect(delays.length).toBeGreaterThan(20);
    expect(delays.map(({ attempt }) => attempt)).toEqual(delays.map((_, index) => index + 1));
  });

  test('each delay is within half of its nominal value', async () => {
    broker.accepting = false;
    const waits: number[] = [];
    connection.events.on('link', (link) => {
      if (link.phase === 'waiting') waits.push(link.retryAt - Date.now());
    });
    connection.open();
    await vi.advanceTimersByTimeAsync(5 * 60_000);
    for (const [index, wait] of waits.entries()) {
      const nominal = Math.min(15_000, 500 * 2 ** index);
      expect(wait).toBeGreaterThanOrEqual(nominal / 2 - 1);
      expect(wait).toBeLessThanOrEqual(nominal * 1.5 + 1);
    }
  });

  test('comes back, and starts the back-off anew', async () => {
    await open();
    broker.cut();
    expect(connection.link).toMatchObject({ phase: 'waiting', attempt: 1, answered: true });
    await vi.advanceTimersByTimeAsync(750);
    expect(connection.link.phase).toBe('open');
    broker.cut();
    expect(connection.link).toMatchObject({ phase: 'waiting', attempt: 1 });
  });

  test('retryNow does not wait', async () => {
    broker.accepting = false;
    connection.open();
    await vi.advanceTimersByTimeAsync(60_000);
    broker.accepting = true;
    connection.retryNow();
    await settle();
    expect(connection.link.phase).toBe('open');
  });

  test('says whether the server answered at all', async () => {
    broker.accepting = false;
    connection.open();
    await settle();
    expect(connection.link).toMatchObject({ phase: 'waiting', answered: false });
  });

  test('what was emitted meanwhile is sent when it is back; a bounded amount', async () => {
    await open();
    broker.cut();
    for (let n = 0; n < 1100; n++) connection.emit('stats', n);
    connection.retryNow();
    await settle();
    const sent = broker.events('stats');
    expect(sent).toHaveLength(1000);
    expect(sent[0]).toBe(100);
  });

  test('a server that says 41 is left and tried again', async () => {
    await open();
    broker.connections[0]?.text('41');
    expect(connection.link).toMatchObject({ phase: 'waiting', reason: 'disconnected by the server' });
  });

  test('garbage ends the connection, not the client', async () => {
    await open();
    broker.connections[0]?.text('42{');
    expect(connection.link.phase).toBe('waiting');
  });
});

describe('silence', () => {
  test('longer than ping interval and timeout ends the connection', async () => {
    await open();
    await vi.advanceTimersByTimeAsync(44_000);
    expect(connection.link.phase).toBe('open');
    await vi.advanceTimersByTimeAsync(2000);
    expect(links.find(({ phase }) => phase === 'waiting')).toMatchObject({ reason: 'nothing heard for 45 s' });
  });

  test('is measured by the heartbeat that the server announces, however short', async () => {
    broker.handshake = { pingInterval: 1000, pingTimeout: 1000 };
    await open();
    await vi.advanceTimersByTimeAsync(2100);
    expect(connection.link.phase).not.toBe('open');
  });

  test('pings keep it alive', async () => {
    await open();
    for (let n = 0; n < 10; n++) {
      await vi.advanceTimersByTimeAsync(25_000);
      broker.connections[0]?.text('2');
    }
    expect(connection.link.phase).toBe('open');
    expect(broker.connections).toHaveLength(1);
  });

  test('after a suspension the clock tells, without waiting for a timer', async () => {
    await open();
    vi.setSystemTime(Date.now() + 10 * 60_000);
    connection.checkSilence();
    expect(connection.link.phase).toBe('waiting');
  });

  test('a server that accepts and says nothing is given up', async () => {
    const mute = new Connection({
      url: '',
      open: () => ({ binaryType: 'arraybuffer', onmessage: null, onclose: null, send: () => {}, close: () => {} }),
    });
    mute.open();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(mute.link.phase).toBe('waiting');
    mute.close();
  });
});
