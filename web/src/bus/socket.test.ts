import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Client } from './client';
import { Socket, type SocketOptions, type SocketState } from './socket';
import { TestBroker } from './testing/broker';
import { TestSocketServer } from './testing/socket-server';

const BASE = 'terminal.project-p.0';

let broker: TestBroker;
let serverSide: Client;
let clientSide: Client;
let server: TestSocketServer;
let sockets: Socket[];

beforeEach(async () => {
  vi.useFakeTimers();
  broker = new TestBroker();
  broker.handshake = { pingInterval: 1_000_000, pingTimeout: 1_000_000 };
  sockets = [];
  serverSide = await connect();
  clientSide = await connect();
});

afterEach(() => {
  for (const socket of sockets) socket.close();
  serverSide.close();
  clientSide.close();
  vi.useRealTimers();
});

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

async function connect(): Promise<Client> {
  const client = new Client({ url: 'ws://test', open: broker.open });
  client.open();
  await client.connected();
  await settle(2000);
  return client;
}

async function openSocket(options: SocketOptions = {}, revision: 'A' | 'B' = 'A') {
  server = new TestSocketServer(serverSide, BASE, revision);
  const socket = new Socket(clientSide, BASE, options);
  sockets.push(socket);
  const received: unknown[] = [];
  const states: SocketState[] = [];
  socket.events.on('data', ({ data, headers }) =>
    received.push(Object.keys(headers).length > 0 ? [data, headers] : data),
  );
  socket.events.on('state', (state) => states.push(state));
  await settle(100);
  const peer = server.peers.get(socket.id);
  if (!peer) throw new Error('not connected');
  return { socket, received, states, peer };
}

/** Frames of socket data, by number, as they pass the broker. */
const seqOf = (headers: Record<string, unknown>) => headers['CN-SocketSeq'];

describe('connecting', () => {
  test.each(['A', 'B'] as const)('works with a server of revision %s', async (revision) => {
    const { socket, peer } = await openSocket({}, revision);
    expect(socket.state).toBe('ready');
    const connects = (broker.events('publish') as unknown[][]).map(
      (frame) => frame[6] as Record<string, unknown> | undefined,
    );
    expect(connects.find((headers) => headers?.['CN-SocketCmd'] === 'connect')).toMatchObject({
      id: socket.id,
      'CN-SocketConnectAttempt': 1,
      'CN-Reply': expect.any(String) as string,
    });
    socket.write('hello');
    await settle(10);
    expect(peer.received).toEqual(['hello']);
  });

  test('waits for a server that comes later; what was written meanwhile arrives', async () => {
    const socket = new Socket(clientSide, BASE);
    sockets.push(socket);
    socket.write('early');
    await settle(5000);
    server = new TestSocketServer(serverSide, BASE, 'A');
    await settle(5000);
    expect(socket.state).toBe('ready');
    expect(server.peers.get(socket.id)?.received).toEqual(['early']);
  });
});

describe('the stream', () => {
  test('is numbered from 1, both ways, and the application doesn’t see the numbers', async () => {
    const { socket, received, peer } = await openSocket();
    const seen: unknown[] = [];
    broker.transit = (_, headers) => (seqOf(headers) !== undefined && seen.push(seqOf(headers)), true);
    socket.write('a');
    socket.write('b');
    peer.window.write('c', { h: 1 });
    await settle(10);
    expect(seen).toEqual([1, 2, 1]);
    expect(peer.received).toEqual(['a', 'b']);
    expect(received).toEqual([['c', { h: 1 }]]);
    expect(socket.unacknowledged).toBe(0);
  });

  test('a lost message is asked for again, and everything stays in order', async () => {
    const { received, peer } = await openSocket();
    let lost = false;
    broker.transit = (subject, headers) => {
      if (lost || seqOf(headers) !== 2 || !subject.includes('.client.')) return true;
      lost = true;
      return false;
    };
    for (const data of ['1', '2', '3']) peer.window.write(data);
    await settle(10);
    expect(lost).toBe(true);
    expect(received).toEqual(['1', '2', '3']);
    expect(peer.window.unacknowledged).toBe(0);
  });

  test('a lost last message is sent again by itself', async () => {
    const { socket, peer } = await openSocket();
    let losses = 2;
    broker.transit = (_, headers) => seqOf(headers) === undefined || losses-- <= 0;
    socket.write('only');
    await settle(10);
    expect(peer.received).toEqual([]);
    await settle(2000);
    expect(peer.received).toEqual(['only']);
    await socket.drain();
  });

  test('duplicates are delivered once', async () => {
    const { socket, received, peer } = await openSocket();
    broker.transit = (_, headers) => (seqOf(headers) === undefined ? true : 2);
    for (let n = 0; n < 20; n++) {
      socket.write(n);
      peer.window.write(n);
    }
    await settle(50);
    const expected = Array.from({ length: 20 }, (_, n) => n);
    expect(received).toEqual(expected);
    expect(peer.received).toEqual(expected);
  });

  test('survives losing half of everything', async () => {
    const { socket, received, peer } = await openSocket({ keepAliveMs: 1_000_000 });
    let state = 1;
    const coin = () => (state = (state * 48_271) % 2_147_483_647) > 2 ** 30;
    broker.transit = (_, headers) => headers['CN-SocketCmd'] !== undefined || coin();
    for (let n = 0; n < 50; n++) {
      socket.write(n);
      peer.window.write(n);
    }
    await settle(60_000);
    const expected = Array.from({ length: 50 }, (_, n) => n);
    expect(received).toEqual(expected);
    expect(peer.received).toEqual(expected);
  });

  test('what the peer no longer has resets the socket', async () => {
    const { socket, received, peer } = await openSocket();
    broker.transit = (subject, headers) => !(seqOf(headers) === 1 && subject.includes('.client.'));
    peer.window.write('gone');
    peer.window.acknowledge(1);
    peer.window.write('next');
    await settle(100);
    expect(socket.state).toBe('closed');
    expect(socket.reason).toContain('no longer has');
    expect(received).toEqual([]);
  });

  test('a bad number resets the socket', async () => {
    const { socket } = await openSocket();
    serverSide.send(`${BASE}.client.${socket.id}`, 'x', { 'CN-SocketSeq': 0 });
    await settle(10);
    expect(socket.state).toBe('closed');
  });

  test('writing is bounded', async () => {
    const { socket } = await openSocket();
    broker.transit = (_, headers) => seqOf(headers) === undefined;
    for (let n = 0; n < 1000; n++) socket.write(n);
    expect(() => socket.write(1000)).toThrow(expect.objectContaining({ code: 'ENOBUFS' }) as Error);
    broker.transit = () => true;
    await settle(5000);
    expect(() => socket.write(1000)).not.toThrow();
  });
});

describe('requests on a socket', () => {
  test('go both ways', async () => {
    const { socket, peer } = await openSocket({ answer: (data) => ({ echo: data }) });
    server.answer = (data) => ['resp', data];
    expect((await socket.request('req')).data).toEqual(['resp', 'req']);
    expect((await peer.request('size')).data).toEqual({ echo: 'size' });
  });

  test('errors arrive as errors', async () => {
    const { socket, peer } = await openSocket({
      answer: () => {
        throw new Error('no size');
      },
    });
    server.answer = () => {
      throw new Error('no such command');
    };
    await expect(socket.request('x')).rejects.toThrow('no such command');
    await expect(peer.request('size')).rejects.toThrow('no size');
  });
});

describe('losing the connection', () => {
  test('the stream goes on where it was, in both directions', async () => {
    const { socket, received, states, peer } = await openSocket();
    socket.write('before');
    peer.window.write('before');
    await settle(10);
    broker.cut();
    expect(socket.state).toBe('disconnected');
    socket.write('during');
    peer.window.write('during');
    await settle(10_000);
    expect(states).toEqual(expect.arrayContaining(['disconnected', 'connecting', 'ready']));
    socket.write('after');
    await settle(10_000);
    expect(peer.received).toEqual(['before', 'during', 'after']);
    expect(received).toEqual(['before', 'during']);
  });

  test('without reconnection it stays disconnected, and requests fail at once', async () => {
    const { socket } = await openSocket({ reconnect: false });
    broker.cut();
    await settle(10_000);
    expect(socket.state).toBe('disconnected');
    await expect(socket.request('x')).rejects.toMatchObject({ code: 'EPIPE' });
  });

  test('a server that was replaced closes the socket instead of mixing streams', async () => {
    const { socket } = await openSocket();
    broker.cut();
    server.stop();
    server = new TestSocketServer(serverSide, BASE, 'A', 'another');
    await settle(20_000);
    expect(socket.state).toBe('closed');
    expect(() => socket.write('x')).toThrow(expect.objectContaining({ code: 'EPIPE' }) as Error);
  });

  test('a peer that doesn’t answer pings is noticed', async () => {
    const { socket, states } = await openSocket({ keepAliveMs: 5000, keepAliveTimeoutMs: 5000, reconnect: false });
    await settle(20_000);
    expect(socket.state).toBe('ready');
    server.mute = true;
    await settle(11_000);
    expect(states.at(-1)).toBe('disconnected');
  });
});

describe('closing', () => {
  test('by the client removes it at the server', async () => {
    const { socket } = await openSocket();
    socket.close();
    await settle(10);
    expect(server.peers.size).toBe(0);
    expect(broker.live.some(({ patterns }) => patterns.has(`${BASE}.client.${socket.id}`))).toBe(false);
  });

  test('gracefully waits until everything has arrived', async () => {
    const { socket, peer } = await openSocket();
    for (let n = 0; n < 10; n++) socket.write(n);
    const ended = socket.end();
    await settle(100);
    await ended;
    expect(peer.received).toHaveLength(10);
    expect(socket.state).toBe('closed');
  });

  test('by the server is final', async () => {
    const { socket, peer } = await openSocket();
    peer.close();
    await settle(20_000);
    expect(socket.state).toBe('closed');
    expect(socket.reason).toBe('closed by the server');
  });

  test('unknown data is answered with close, and that closes', async () => {
    const { socket, peer } = await openSocket();
    server.peers.delete(peer.id);
    socket.write('x');
    await settle(10);
    expect(socket.state).toBe('closed');
  });
});
