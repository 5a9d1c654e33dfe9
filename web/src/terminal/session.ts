import { sleep } from '../bus/backoff';
import type { Client } from '../bus/client';
import { Emitter } from '../bus/emitter';
import { BusError, DisconnectedError, messageOf } from '../bus/error';
import { Socket } from '../bus/socket';
import { OutputProbe } from './probe';
import { commonSize, isSize, type Size } from './sizes';

/** Where a terminal session stands, seen from here. */
export type SessionState =
  | { phase: 'attaching' }
  | { phase: 'attached' }
  | { phase: 'detached'; reason: string }
  | { phase: 'ended' }
  | { phase: 'failed'; reason: string }
  | { phase: 'kicked' };

/** What shows the session. */
export interface Screen {
  /** Empties the screen and shows what has happened so far. */
  reset(history: string): void;
  write(data: string): void;
  resize(size: Size): void;
  /** The size that would fill the space there is; nothing while hidden. */
  proposedSize(): Size | null;
}

/** `user` typed it; `auto` is the emulator's own answer, which only one of several browsers may give. */
export type InputKind = 'user' | 'auto';

const KEEP_ALIVE_MS = 5_000;
const SPAWN_TIMEOUT_MS = 5_000;
/** Finding the server and connecting, and then the spawn. */
const ATTACH_TIMEOUT_MS = 20_000;
const RETRY_PAUSE_MS = 2_000;
const SIZES_WAIT_MS = 2_000;
const REQUEST_TIMEOUT_MS = 5_000;
/** Typed while the connection is away; more than this would be a paste into the void. */
const MAX_HELD_INPUT = 4096;

/** One terminal session: a program at the server that outlives every connection to it. */
export class TerminalSession {
  readonly events = new Emitter<{ state: SessionState; cwd: string }>();
  #state: SessionState = { phase: 'attaching' };
  #socket: Socket | undefined;
  #epoch = 0;
  #pid: unknown;
  #held = '';
  #negotiating = false;
  #negotiateAgain = false;
  readonly #probe = new OutputProbe(() => void this.#checkAlive());

  constructor(
    private readonly client: Client,
    private readonly base: string,
    private readonly id: string,
    private readonly screen: Screen,
  ) {}

  /** Where the session stands now. */
  get state(): SessionState {
    return this.#state;
  }

  /** Attaches to the session, starting its program if it isn't running; keeps trying until it works. */
  async attach(): Promise<void> {
    const epoch = ++this.#epoch;
    const current = () => epoch === this.#epoch;
    this.#setState({ phase: 'attaching' });
    while (current()) {
      try {
        await this.client.connected(Infinity);
        if (!current()) return;
        await this.#spawn(current);
        return;
      } catch (error) {
        if (!current()) return;
        if (error instanceof SpawnRefused) {
          this.#setState({ phase: 'failed', reason: error.message });
          return;
        }
        this.#setState({ phase: 'detached', reason: messageOf(error) });
        await sleep(RETRY_PAUSE_MS);
      }
    }
  }

  /** Sends what was typed or what the emulator answers. A key after the end starts the program again. */
  input(data: string, kind: InputKind): void {
    switch (this.#state.phase) {
      case 'attached':
        this.#write(data, kind);
        return;
      case 'attaching':
      case 'detached':
        if (kind === 'user' && this.#held.length + data.length <= MAX_HELD_INPUT) this.#held += data;
        return;
      case 'ended':
      case 'failed':
        if (kind === 'user') void this.attach();
        return;
      case 'kicked':
    }
  }

  /** The space for the terminal changed: agrees on a size with everybody else who looks at it. */
  async fit(): Promise<void> {
    const own = this.screen.proposedSize();
    if (!own) return;
    if (this.#state.phase !== 'attached') {
      this.screen.resize(own);
      return;
    }
    if (this.#negotiating) {
      this.#negotiateAgain = true;
      return;
    }
    this.#negotiating = true;
    try {
      await this.#negotiate();
    } finally {
      this.#negotiating = false;
    }
    if (!this.#negotiateAgain) return;
    this.#negotiateAgain = false;
    await this.fit();
  }

  /** Ends every other browser's view of this session. */
  async kickOthers(): Promise<void> {
    await this.#request({ cmd: 'broadcast', event: 'kick', payload: this.#socket?.id });
    await this.fit();
  }

  /** Kills the program. Resolves when it is gone; the news of its end can come before the answer, or instead of it. */
  async destroy(): Promise<void> {
    let stop: (() => void) | undefined;
    const ended = new Promise<void>((resolve) => {
      stop = this.events.on('state', ({ phase }) => {
        if (phase === 'ended') resolve();
      });
    });
    await Promise.race([ended, this.#request({ cmd: 'destroy' })]).finally(stop);
  }

  /** Leaves the session; its program goes on. */
  close(): void {
    this.#epoch++;
    this.#probe.stop();
    this.#socket?.close();
  }

  async #spawn(current: () => boolean): Promise<void> {
    const socket = new Socket(this.client, this.base, {
      keepAliveMs: KEEP_ALIVE_MS,
      keepAliveTimeoutMs: KEEP_ALIVE_MS,
      reconnect: false,
      answer: (data) => (current() ? this.#answer(data) : null),
    });
    this.#socket = socket;
    // The listener is there before the request, because output follows the answer at once.
    socket.events.on('data', ({ data }) => {
      if (this.#socket !== socket || this.#state.phase !== 'attached' || typeof data !== 'string') return;
      this.#probe.output();
      this.screen.write(data);
    });
    const { pid, history } = await this.#requestSpawn(socket);
    if (!current()) {
      socket.close();
      return;
    }
    socket.events.on('state', (state) => {
      if (!current() || (state !== 'disconnected' && state !== 'closed')) return;
      const { reason } = socket;
      socket.close();
      void this.#comeBack(reason);
    });
    this.screen.reset(history ?? '');
    this.#setState({ phase: 'attached' });
    const held = this.#held;
    this.#held = '';
    // What was typed into one shell must not be run by the next.
    if (held !== '' && pid === this.#pid) this.#write(held, 'user');
    this.#pid = pid;
    void this.fit();
    void this.#readCwd();
  }

  async #requestSpawn(socket: Socket): Promise<{ pid?: unknown; history?: string }> {
    const options = { id: this.id, cwd: '', env0: {}, timeout: SPAWN_TIMEOUT_MS, ...this.screen.proposedSize() };
    try {
      const reply = await socket.request({ cmd: 'spawn', command: '', args: [], options }, ATTACH_TIMEOUT_MS);
      return reply.data ?? {};
    } catch (error) {
      socket.close();
      throw isRefusal(error) ? new SpawnRefused(messageOf(error)) : error;
    }
  }

  async #comeBack(reason: string): Promise<void> {
    this.#probe.stop();
    const epoch = ++this.#epoch;
    this.#setState({ phase: 'detached', reason });
    // Out of the socket's own event, so that it is through with the state it is in.
    await Promise.resolve();
    if (epoch === this.#epoch) await this.attach();
  }

  #write(data: string, kind: InputKind): void {
    try {
      this.#socket?.write({ data, kind });
      if (kind === 'user') this.#probe.input();
    } catch (error) {
      // The server has taken nothing for a thousand messages.
      void this.#comeBack(messageOf(error));
    }
  }

  async #negotiate(): Promise<void> {
    try {
      const sizes = await this.#request({ cmd: 'sizes', wait: SIZES_WAIT_MS });
      const size = commonSize(sizes, this.screen.proposedSize());
      if (size) await this.#request({ cmd: 'resize', ...size });
    } catch {
      // The next change of size, or the next attach, tries again.
    }
  }

  async #readCwd(): Promise<void> {
    try {
      const cwd = await this.#request({ cmd: 'cwd' });
      if (typeof cwd === 'string') this.events.emit('cwd', cwd);
    } catch {
      // Only a tab's label depends on it.
    }
  }

  /** Typing without an echo: is the program still there? */
  async #checkAlive(): Promise<void> {
    const socket = this.#socket;
    try {
      if ((await this.#request({ cmd: 'state' })) === 'running') return;
    } catch {
      // No answer is an answer.
    }
    if (socket === this.#socket && this.#state.phase === 'attached') void this.#comeBack('no output');
  }

  async #request(data: Record<string, unknown>): Promise<unknown> {
    if (!this.#socket) throw new BusError('not attached');
    return (await this.#socket.request(data, REQUEST_TIMEOUT_MS)).data;
  }

  #answer(data: unknown): unknown {
    const { cmd, event, payload } = (data ?? {}) as { cmd?: unknown; event?: unknown; payload?: unknown };
    switch (cmd) {
      case 'size':
        return this.screen.proposedSize();
      case 'exit':
        this.#ended();
        return null;
      case 'broadcast':
        this.#broadcast(event, payload);
        return null;
      default:
        return null;
    }
  }

  #broadcast(event: unknown, payload: unknown): void {
    switch (event) {
      case 'resize':
        if (isSize(payload)) this.screen.resize(payload);
        return;
      case 'leave':
        void this.fit();
        return;
      case 'update-cwd':
        if (typeof payload === 'string') this.events.emit('cwd', payload);
        return;
      case 'kick':
        if (payload !== this.#socket?.id) this.#leave({ phase: 'kicked' });
        return;
      default:
    }
  }

  #ended(): void {
    this.#pid = undefined;
    this.#leave({ phase: 'ended' });
  }

  #leave(state: SessionState): void {
    const socket = this.#socket;
    this.#epoch++;
    this.#probe.stop();
    this.#setState(state);
    // The answer to the request that brought us here goes out first.
    setTimeout(() => socket?.close());
  }

  #setState(state: SessionState): void {
    this.#state = state;
    this.events.emit('state', state);
  }
}

/** The program can't be started. */
class SpawnRefused extends Error {}

/** Did the service say no, rather than not answer? */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof BusError) || error instanceof DisconnectedError) return false;
  return ![408, 503, 'EPIPE'].includes(error.code ?? '');
}
