import { Backoff, sleep } from './backoff';
import type { Client } from './client';
import { Emitter } from './emitter';
import { BusError, messageOf } from './error';
import { randomId } from './id';
import type { Headers, Message } from './message';
import { ReceiveWindow } from './receive-window';
import { SendWindow, type Held } from './send-window';
import type { Subscription } from './subscriptions';

/** Where a virtual socket stands. */
export type SocketState = 'connecting' | 'ready' | 'disconnected' | 'closed';

/** Options of a virtual socket. */
export interface SocketOptions {
  /** Idle time before the peer is asked whether it is there. */
  keepAliveMs?: number;
  /** How long it may take to answer. */
  keepAliveTimeoutMs?: number;
  /** Come back with the same stream after a lost connection? Otherwise the socket stays disconnected. */
  reconnect?: boolean;
  /** Answers the peer's requests; what it throws becomes an error at the peer. */
  answer?: (data: unknown, message: Message) => unknown;
}

const COMMAND = 'CN-SocketCmd';
const ATTEMPT = 'CN-SocketConnectAttempt';

const QUEUE_LIMIT = 1000;
const CONNECT_TIMEOUT_MS = 10_000;
const STATUS_TIMEOUT_MS = 10_000;
const RECONNECT_PAUSE_MS = 500;
const COMMAND_TIMEOUT_MS = 10_000;
const END_TIMEOUT_MS = 3_000;

/** The client's end of a virtual socket: an ordered, reliable stream of messages each way, and requests beside it. */
export class Socket {
  readonly events = new Emitter<{ state: SocketState; data: Message }>();
  /** The client id in the socket's subjects. */
  readonly id = randomId();
  #state: SocketState = 'connecting';
  #reason = '';
  #server: string | undefined;
  #subscription: Subscription | undefined;
  /** Changes with every (re)connect, so that what belongs to an earlier one can tell. */
  #epoch = 0;
  #attempt = 0;
  #lastHeard = 0;
  #keepAlive: ReturnType<typeof setTimeout> | undefined;
  #confirmed: (() => void) | undefined;
  readonly #sender = new SendWindow((held) => this.#transmit(held), QUEUE_LIMIT);
  readonly #receiver: ReceiveWindow;
  readonly #stopWatching: () => void;

  constructor(
    private readonly client: Client,
    private readonly base: string,
    private readonly options: SocketOptions = {},
  ) {
    this.#receiver = new ReceiveWindow({
      deliver: (message) => this.events.emit('data', message),
      report: (seq) => this.#reportEmitted(seq),
      fetch: (seqs) => this.#fetchMissing(seqs),
      broken: (reason) => this.#finish(reason),
    });
    this.#stopWatching = client.events.on('state', ({ phase }) => {
      if (phase !== 'connected' && this.#server !== undefined) this.#disconnected(`bus ${phase}`);
    });
    void this.#establish();
  }

  /** Where the socket stands now. */
  get state(): SocketState {
    return this.#state;
  }

  /** Why it is disconnected or closed. */
  get reason(): string {
    return this.#reason;
  }

  /** How many written messages the peer has not reported. */
  get unacknowledged(): number {
    return this.#sender.unacknowledged;
  }

  /** Resolves when the peer has everything that was written. */
  drain(): Promise<void> {
    return this.#sender.drain();
  }

  /** Writes a message to the stream; throws `EPIPE` when closed and `ENOBUFS` when too much is on its way. */
  write(data: unknown, headers?: Headers): void {
    if (this.#state === 'closed') throw new BusError('the socket is closed', 'EPIPE');
    this.#sender.write(data, headers);
  }

  /** Sends the peer a request, outside of the stream. Waits until the socket is ready. */
  async request(data: unknown, timeoutMs = 30_000, headers: Headers = {}): Promise<Message> {
    const deadline = Date.now() + timeoutMs;
    await this.#ready(timeoutMs);
    return this.client.request(this.#serverSubject, data, { headers, timeoutMs: Math.max(deadline - Date.now(), 1) });
  }

  /** Closes at once; the peer is told without waiting for it. */
  close(): void {
    if (this.#state === 'closed') return;
    if (this.#server !== undefined && this.client.state.phase === 'connected') {
      this.client.send(this.#serverSubject, null, { [COMMAND]: 'close', id: this.id });
    }
    this.#finish('closed');
  }

  /** Closes after everything written has arrived, or after three seconds. */
  async end(): Promise<void> {
    if (this.#state === 'ready') {
      await Promise.race([this.drain(), sleep(END_TIMEOUT_MS)]);
      const headers = { [COMMAND]: 'close', id: this.id };
      await this.client
        .request(this.#serverSubject, null, { headers, timeoutMs: END_TIMEOUT_MS })
        .catch(() => undefined);
    }
    this.#finish('closed');
  }

  get #clientSubject(): string {
    return `${this.base}.client.${this.id}`;
  }

  get #serverSubject(): string {
    return `${this.base}.server.${this.#server ?? ''}.${this.id}`;
  }

  #ready(timeoutMs: number): Promise<void> {
    if (this.#state === 'ready') return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        stop();
        act();
      };
      const check = (state: SocketState) => {
        if (state === 'ready') settle(resolve);
        else if (state === 'closed' || (state === 'disconnected' && this.options.reconnect === false)) {
          settle(() => reject(new BusError(`the socket is ${state}: ${this.#reason}`, 'EPIPE')));
        }
      };
      const stop = this.events.on('state', check);
      const timer = setTimeout(
        () => settle(() => reject(new BusError('timeout - socket is not ready', 408))),
        timeoutMs,
      );
      check(this.#state);
    });
  }

  /** Finds a server, subscribes and connects, again and again until it works or the socket is given up. */
  async #establish(): Promise<void> {
    const epoch = ++this.#epoch;
    const current = () => epoch === this.#epoch;
    const pause = new Backoff(650, 1.3, 10_000);
    this.#setState('connecting', '');
    while (current()) {
      try {
        await this.#connectOnce(current);
        return;
      } catch (error) {
        if (!current()) return;
        this.#subscription?.close();
        this.#subscription = undefined;
        if (error instanceof BusError && (error.code === 403 || error.code === 'refused')) {
          this.#finish(error.message);
          return;
        }
      }
      await sleep(pause.next());
    }
  }

  async #connectOnce(current: () => boolean): Promise<void> {
    const server = await this.#discover(current);
    if (!current()) return;
    if (this.#server !== undefined && this.#server !== server) {
      // The stream's state was at the other one; a new one can't continue it.
      this.#finish('the server was replaced');
      return;
    }
    this.#server = server;
    this.#subscription = this.client.subscribe(this.#clientSubject, (message) => this.#received(message));
    await this.#subscription.ready;
    if (!current()) return;
    await this.#connect();
    if (!current()) return;
    this.#lastHeard = Date.now();
    this.#scheduleKeepAlive();
    this.#setState('ready', '');
    this.#sender.start();
  }

  async #discover(current: () => boolean): Promise<string> {
    const subject = `${this.base}.server.status`;
    let timeoutMs = 250;
    for (;;) {
      await this.client.connected();
      if (await this.client.waitForInterest(subject, timeoutMs).catch(ignoreTimeout)) break;
      if (!current()) return '';
      timeoutMs = Math.min(timeoutMs * 1.5, 1000);
    }
    const reply = await this.client.request(subject, null, { timeoutMs: STATUS_TIMEOUT_MS });
    const { id } = (reply.data ?? {}) as { id?: unknown };
    if (typeof id !== 'string') throw new BusError('the status answer names no server');
    return id;
  }

  /**
   * Older servers answer the request, newer ones publish `connected` to the client's subject: whichever comes first
   * counts.
   */
  #connect(): Promise<void> {
    const headers = { [COMMAND]: 'connect', [ATTEMPT]: ++this.#attempt, id: this.id };
    const options = { headers, timeoutMs: CONNECT_TIMEOUT_MS, waitForInterest: true };
    return new Promise((resolve, reject) => {
      this.#confirmed = resolve;
      this.client.request(this.#serverSubject, null, options).then(
        ({ data }) => {
          if (data === 'connected') resolve();
          else reject(new BusError('the server refused the connection', 'refused'));
        },
        (error: unknown) => reject(error instanceof Error ? error : new Error(messageOf(error))),
      );
    });
  }

  #received(message: Message): void {
    this.#lastHeard = Date.now();
    const command = message.headers[COMMAND];
    if (command !== undefined) this.#commanded(command, message);
    else if (message.reply !== undefined) void this.#answer(message);
    else this.#receiver.push(message);
  }

  #commanded(command: unknown, message: Message): void {
    switch (command) {
      case 'connected':
        this.#confirmed?.();
        return;
      case 'ping':
        this.client.respond(message, null);
        return;
      case 'close':
        this.#finish('closed by the server');
        return;
      case 'socket':
        this.#reliability(message);
        return;
      default:
        this.client.respond(message, { error: `unknown command ${String(command)}` });
    }
  }

  /** The peer reports what it has, or asks for what it misses. */
  #reliability(message: Message): void {
    const { socket } = (message.data ?? {}) as { socket?: { emitted?: unknown; missing?: unknown } };
    if (typeof socket?.emitted === 'number') {
      this.#sender.acknowledge(socket.emitted);
      this.client.respond(message, { emitted: socket.emitted });
    } else if (Array.isArray(socket?.missing)) {
      const held = this.#sender.missing(socket.missing);
      if (held) this.client.respond(message, held);
      else this.client.respond(message, null, { error: 'nodata' });
    }
  }

  async #answer(message: Message): Promise<void> {
    try {
      this.client.respond(message, (await this.options.answer?.(message.data, message)) ?? null);
    } catch (error) {
      this.client.respond(message, null, { error: messageOf(error), error_attrs: {} });
    }
  }

  async #reportEmitted(emitted: number): Promise<void> {
    await this.#command('socket', { socket: { emitted } });
  }

  async #fetchMissing(missing: number[]): Promise<Held[] | undefined> {
    try {
      const reply = await this.#command('socket', { socket: { missing } });
      return Array.isArray(reply.data) ? (reply.data as Held[]) : undefined;
    } catch (error) {
      if (messageOf(error) === 'nodata') return undefined;
      throw error;
    }
  }

  #command(command: string, data: unknown, timeoutMs = COMMAND_TIMEOUT_MS): Promise<Message> {
    return this.client.request(this.#serverSubject, data, { headers: { [COMMAND]: command }, timeoutMs });
  }

  #transmit({ encoding, raw, headers }: Held): void {
    this.client.sendRaw(this.#serverSubject, encoding, raw, headers);
  }

  #scheduleKeepAlive(): void {
    clearTimeout(this.#keepAlive);
    const idle = this.options.keepAliveMs ?? 25_000;
    const rest = this.#lastHeard + idle - Date.now();
    this.#keepAlive = setTimeout(
      () => {
        if (Date.now() - this.#lastHeard < idle) this.#scheduleKeepAlive();
        else void this.#ping();
      },
      Math.max(rest, 1),
    );
  }

  async #ping(): Promise<void> {
    const epoch = this.#epoch;
    try {
      await this.#command('ping', null, this.options.keepAliveTimeoutMs ?? 10_000);
      this.#lastHeard = Date.now();
      if (epoch === this.#epoch && this.#state === 'ready') this.#scheduleKeepAlive();
    } catch (error) {
      // Silence may be the whole connection's, not only the peer's.
      void this.client.verify();
      if (epoch === this.#epoch) this.#disconnected(`no answer to a ping: ${messageOf(error)}`);
    }
  }

  #disconnected(reason: string): void {
    if (this.#state !== 'ready' && this.#state !== 'connecting') return;
    const epoch = ++this.#epoch;
    this.#release();
    this.#setState('disconnected', reason);
    if (this.options.reconnect === false) return;
    setTimeout(() => {
      if (epoch === this.#epoch) void this.#establish();
    }, RECONNECT_PAUSE_MS);
  }

  #finish(reason: string): void {
    if (this.#state === 'closed') return;
    this.#epoch++;
    this.#release();
    this.#stopWatching();
    this.#setState('closed', reason);
  }

  #release(): void {
    clearTimeout(this.#keepAlive);
    this.#sender.stop();
    this.#subscription?.close();
    this.#subscription = undefined;
  }

  #setState(state: SocketState, reason: string): void {
    this.#state = state;
    this.#reason = reason;
    this.events.emit('state', state);
  }
}

/** Nobody came within the time: not an error, but a reason to ask again. */
function ignoreTimeout(error: unknown): boolean {
  if (error instanceof BusError && error.code === 408) return false;
  throw error;
}
