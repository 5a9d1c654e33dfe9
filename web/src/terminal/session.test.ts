import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Client } from '../bus/client';
import { TestBroker } from '../bus/testing/broker';
import { TestSocketServer, type Peer } from '../bus/testing/socket-server';
import { TerminalSession, type Screen } from './session';
import type { Size } from './sizes';

const BASE = 'terminal.project-p.0';

let broker: TestBroker;
let serverSide: Client;
let clientSide: Client;
let server: TestSocketServer;
let program: { pid: number; history: string };
let requests: Record<string, unknown>[];
let screen: Screen & { shown: string; size: Size; space: Size | null };
let session: TerminalSession;

beforeEach(async () => {
  vi.useFakeTimers();
  broker = new TestBroker();
  broker.handshake = { pingInterval: 1_000_000, pingTimeout: 1_000_000 };
  serverSide = await connect();
  clientSide = await connect();
  program = { pid: 1, history: '$ ' };
  requests = [];
  server = new TestSocketServer(serverSide, BASE, 'A');
  server.answer = answer;
  screen = {
    shown: '',
    size: { rows: 24, cols: 80 },
    space: { rows: 30, cols: 100 },
    reset(history) {
      this.shown = history;
    },
    write(data) {
      this.shown += data;
    },
    resize(size) {
      this.size = size;
    },
    proposedSize() {
      return this.space;
    },
  };
  session = new TerminalSession(clientSide, BASE, '.outpost-1.term', screen);
  void session.attach();
  await settle(1000);
});

afterEach(() => {
  session.close();
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

async function answer(data: unknown, peer: Peer): Promise<unknown> {
  const request = data as Record<string, unknown>;
  requests.push(request);
  switch (request.cmd) {
    case 'spawn':
      return { ...program };
    case 'sizes':
      return [(await peer.request({ cmd: 'size' })).data, { rows: 20, cols: 120 }];
    case 'resize':
      await peer.request({ cmd: 'broadcast', event: 'resize', payload: { rows: request.rows, cols: request.cols } });
      return null;
    case 'state':
      return 'off';
    case 'cwd':
      return 'work/lab';
    default:
      return null;
  }
}

const peer = (): Peer => {
  const [last] = [...server.peers.values()].slice(-1);
  if (!last) throw new Error('nobody is attached');
  return last;
};

const spawns = () => requests.filter(({ cmd }) => cmd === 'spawn');

describe('attaching', () => {
  test('asks for the session by its id, shows the history, then the output', async () => {
    expect(spawns()[0]).toEqual({
      cmd: 'spawn',
      command: '',
      args: [],
      options: { id: '.outpost-1.term', cwd: '', env0: {}, timeout: 5000, rows: 30, cols: 100 },
    });
    expect(session.state).toEqual({ phase: 'attached' });
    peer().window.write('hello');
    peer().window.write(new Uint8Array([1]));
    await settle();
    expect(screen.shown).toBe('$ hello');
  });

  test('agrees on the smallest size of everybody', () => {
    expect(requests).toContainEqual({ cmd: 'sizes', wait: 2000 });
    expect(requests).toContainEqual({ cmd: 'resize', rows: 20, cols: 100 });
    expect(screen.size).toEqual({ rows: 20, cols: 100 });
  });

  test('a hidden terminal has no size', async () => {
    screen.space = null;
    expect((await peer().request({ cmd: 'size' })).data).toBeNull();
  });

  test('a program that can’t be started is said once, and a key tries again', async () => {
    session.close();
    server.answer = () => {
      throw new Error('spawn bash ENOENT');
    };
    session = new TerminalSession(clientSide, BASE, '.outpost-2.term', screen);
    void session.attach();
    await settle(1000);
    expect(session.state).toEqual({ phase: 'failed', reason: 'spawn bash ENOENT' });
    server.answer = answer;
    session.input('x', 'user');
    await settle(1000);
    expect(session.state.phase).toBe('attached');
  });
});

describe('input', () => {
  test('says who made it', async () => {
    session.input('ls\r', 'user');
    session.input('\x1b[1;1R', 'auto');
    await settle();
    expect(peer().received).toEqual([
      { data: 'ls\r', kind: 'user' },
      { data: '\x1b[1;1R', kind: 'auto' },
    ]);
  });

  test('typed while the connection is away arrives at the same program', async () => {
    broker.cut();
    session.input('typed', 'user');
    session.input('\x1b[0n', 'auto');
    await settle(5000);
    expect(peer().received).toEqual([{ data: 'typed', kind: 'user' }]);
  });

  test('but not at another one', async () => {
    broker.cut();
    session.input('rm -r x\r', 'user');
    program = { pid: 2, history: '' };
    await settle(5000);
    expect(session.state.phase).toBe('attached');
    expect(peer().received).toEqual([]);
  });

  test('without output for ten seconds asks whether the program is there, and attaches anew if not', async () => {
    session.input('x', 'user');
    await settle(9_900);
    expect(requests.filter(({ cmd }) => cmd === 'state')).toHaveLength(0);
    await settle(1_000);
    expect(requests.filter(({ cmd }) => cmd === 'state')).toHaveLength(1);
    await settle(2_000);
    expect(spawns()).toHaveLength(2);
  });
});

describe('coming back', () => {
  test('after a lost connection shows the history once', async () => {
    peer().window.write('one ');
    await settle();
    program.history = '$ one two ';
    broker.cut();
    expect(session.state.phase).not.toBe('attached');
    await settle(5000);
    expect(session.state.phase).toBe('attached');
    expect(screen.shown).toBe('$ one two ');
  });

  test('when the server closes the socket', async () => {
    peer().close();
    await settle(5000);
    expect(session.state.phase).toBe('attached');
    expect(spawns()).toHaveLength(2);
  });

  test('when the server was away for minutes', async () => {
    broker.accepting = false;
    broker.cut();
    await settle(180_000);
    broker.accepting = true;
    await settle(30_000);
    expect(session.state.phase).toBe('attached');
  });
});

describe('the server says', () => {
  test('exit: it is over until a key is pressed', async () => {
    await peer().request({ cmd: 'exit' });
    await settle(100);
    expect(session.state).toEqual({ phase: 'ended' });
    expect(server.peers.size).toBe(0);
    session.input('\x1b[0n', 'auto');
    await settle(1000);
    expect(spawns()).toHaveLength(1);
    session.input('\r', 'user');
    await settle(1000);
    expect(session.state.phase).toBe('attached');
    expect(peer().received).toEqual([]);
  });

  test('exit instead of an answer to destroy: that is an answer, too', async () => {
    server.answer = (data, from) => {
      if ((data as { cmd: string }).cmd !== 'destroy') return answer(data, from);
      void from.request({ cmd: 'exit' });
      return new Promise(() => undefined);
    };
    await session.destroy();
    expect(session.state.phase).toBe('ended');
  });

  test('kick: another browser took over, and this one doesn’t come back by itself', async () => {
    await peer().request({ cmd: 'broadcast', event: 'kick', payload: 'somebody else' });
    await settle(30_000);
    expect(session.state.phase).toBe('kicked');
    expect(spawns()).toHaveLength(1);
  });

  test('kick: not if it was us', async () => {
    await peer().request({ cmd: 'broadcast', event: 'kick', payload: peer().id });
    expect(session.state.phase).toBe('attached');
  });

  test('update-cwd: the directory has changed', async () => {
    const directories: string[] = [];
    session.events.on('cwd', (cwd) => directories.push(cwd));
    await peer().request({ cmd: 'broadcast', event: 'update-cwd', payload: 'work' });
    expect(directories).toEqual(['work']);
  });

  test('leave: there may be more room', async () => {
    requests.length = 0;
    await peer().request({ cmd: 'broadcast', event: 'leave' });
    await settle(100);
    expect(requests.map(({ cmd }) => cmd)).toEqual(['sizes', 'resize']);
  });
});
