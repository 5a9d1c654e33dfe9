import { Backoff } from './backoff';
import { Decoder, encode, type Packet } from './codec';
import { Emitter } from './emitter';
import { BusError, DisconnectedError, messageOf, timeoutError } from './error';

/** The part of a browser's WebSocket that is used; tests bring their own. */
export interface Transport {
  binaryType: BinaryType;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(): void;
}

/** What a connection is told when it is made. */
export interface ConnectionOptions {
  /** The `ws:` or `wss:` address, with its query. */
  url: string;
  /** Sent with the Socket.IO CONNECT. */
  auth?: Record<string, unknown>;
  /** Opens a WebSocket; the browser's own by default. */
  open?: (url: string) => Transport;
}

/** Where a connection stands. */
export type Link =
  | { phase: 'connecting'; attempt: number }
  | { phase: 'open'; sid: string }
  | { phase: 'waiting'; attempt: number; retryAt: number; reason: string; answered: boolean }
  | { phase: 'closed'; reason: string };

/** An event the server sent; `acknowledge` is there when it wants to be answered. */
export interface Incoming {
  name: string;
  args: unknown[];
  acknowledge?: () => void;
}

interface Pending {
  operation: string;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
  timer: ReturnType<typeof setTimeout>;
}

interface Handshake {
  pingInterval: number;
  pingTimeout: number;
}

/** From opening the WebSocket to the Socket.IO CONNECT reply; after that the heartbeat watches. */
const CONNECT_TIMEOUT_MS = 20_000;

/** Fire-and-forget events kept while there is no connection; the oldest go first. */
const MAX_BUFFERED_EVENTS = 1000;

/**
 * One Engine.IO and Socket.IO connection that comes back by itself, forever, until it is closed. It knows events and
 * acknowledgements and nothing of what they mean.
 */
export class Connection {
  readonly events = new Emitter<{ link: Link; event: Incoming }>();
  #link: Link = { phase: 'closed', reason: 'not opened' };
  #transport: Transport | undefined;
  #decoder = new Decoder();
  #handshake: Handshake | undefined;
  #lastHeard = 0;
  #nextAck = 0;
  readonly #pending = new Map<number, Pending>();
  #buffered: [string, unknown[]][] = [];
  #silence: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  readonly #backoff = new Backoff(500, 2, 15_000, 0.5);

  constructor(private readonly options: ConnectionOptions) {}

  /** Where the connection stands now. */
  get link(): Link {
    return this.#link;
  }

  /** Starts, or starts again after `close`. */
  open(): void {
    if (this.#link.phase !== 'closed') return;
    this.#backoff.reset();
    this.#dial();
  }

  /** Ends the connection for good. */
  close(reason = 'closed'): void {
    const transport = this.#link.phase === 'open' ? this.#transport : undefined;
    if (transport) {
      transport.onclose = null;
      transport.send('41');
    }
    this.#drop(reason);
    clearTimeout(this.#retry);
    this.#buffered = [];
    this.#setLink({ phase: 'closed', reason });
  }

  /** Doesn't wait for the back-off. */
  retryNow(): void {
    if (this.#link.phase !== 'waiting') return;
    clearTimeout(this.#retry);
    this.#dial();
  }

  /** Gives the present transport up and waits for the next. */
  cut(reason: string): void {
    if (this.#link.phase === 'connecting' || this.#link.phase === 'open') this.#lost(reason);
  }

  /**
   * Cuts the connection if the server has been silent for longer than it may. A suspended machine runs no timers, so
   * this is to be called when it wakes up.
   */
  checkSilence(): void {
    const allowed = this.#allowedSilence();
    if (Date.now() - this.#lastHeard >= allowed) this.cut(`nothing heard for ${Math.round(allowed / 1000)} s`);
  }

  /** Sends an event that nobody answers. Without a connection it is kept for the next one. */
  emit(name: string, ...args: unknown[]): void {
    if (this.#link.phase === 'open') this.#write('event', undefined, [name, ...args]);
    else if (this.#link.phase !== 'closed') {
      this.#buffered.push([name, args]);
      if (this.#buffered.length > MAX_BUFFERED_EVENTS) this.#buffered.shift();
    }
  }

  /** Sends an event and resolves with its acknowledgement. Needs an open connection. */
  request(name: string, argument: unknown, timeoutMs: number): Promise<unknown> {
    if (this.#link.phase !== 'open') return Promise.reject(new DisconnectedError(name));
    const id = this.#nextAck++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(timeoutError(name));
      }, timeoutMs);
      this.#pending.set(id, { operation: name, resolve, reject, timer });
      this.#write('event', id, [name, argument]);
    });
  }

  #dial(): void {
    this.#setLink({ phase: 'connecting', attempt: this.#backoff.attempt });
    this.#decoder = new Decoder();
    this.#handshake = undefined;
    let transport: Transport;
    try {
      transport = (this.options.open ?? openWebSocket)(this.options.url);
    } catch (error) {
      this.#lost(messageOf(error));
      return;
    }
    this.#transport = transport;
    transport.binaryType = 'arraybuffer';
    this.#heard();
    transport.onmessage = ({ data }) => {
      if (this.#transport !== transport) return;
      this.#heard();
      try {
        this.#read(data);
      } catch (error) {
        this.#lost(messageOf(error));
      }
    };
    transport.onclose = ({ code }) => {
      if (this.#transport === transport) this.#lost(`connection closed (${code})`);
    };
  }

  #read(data: unknown): void {
    if (typeof data !== 'string') {
      this.#handle(this.#decoder.binary(new Uint8Array(data as ArrayBuffer)));
      return;
    }
    switch (data.charAt(0)) {
      case '0':
        this.#handshake = readHandshake(data.slice(1));
        this.#transport?.send(`40${this.options.auth ? JSON.stringify(this.options.auth) : ''}`);
        return;
      case '1':
        this.#lost('closed by the server');
        return;
      case '2':
        this.#transport?.send(`3${data.slice(1)}`);
        return;
      case '4':
        this.#handle(this.#decoder.text(data.slice(1)));
        return;
      default:
    }
  }

  #handle(packet: Packet | undefined): void {
    switch (packet?.type) {
      case 'connect':
        this.#connected(packet.data);
        return;
      case 'connect_error':
        this.#lost(packet.message);
        return;
      case 'disconnect':
        this.#lost('disconnected by the server');
        return;
      case 'event':
        this.#deliver(packet.id, packet.args);
        return;
      case 'ack':
        this.#acknowledged(packet.id, packet.args[0]);
        return;
      case undefined:
    }
  }

  #connected(data: unknown): void {
    const sid = typeof data === 'object' && data !== null && 'sid' in data ? String(data.sid) : '';
    this.#backoff.reset();
    this.#setLink({ phase: 'open', sid });
    // The server's own heartbeat counts from here on, and may be shorter than what a connect may take.
    clearTimeout(this.#silence);
    this.#silence = undefined;
    this.#heard();
    const buffered = this.#buffered;
    this.#buffered = [];
    for (const [name, args] of buffered) this.#write('event', undefined, [name, ...args]);
  }

  #deliver(id: number | undefined, args: unknown[]): void {
    const incoming: Incoming = { name: args[0] as string, args: args.slice(1) };
    if (id !== undefined) incoming.acknowledge = () => this.#write('ack', id, []);
    this.events.emit('event', incoming);
  }

  #acknowledged(id: number, value: unknown): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    if (typeof value === 'object' && value !== null && 'error' in value && typeof value.error === 'string') {
      const code = 'code' in value ? (value.code as number | string) : undefined;
      pending.reject(new BusError(value.error, code));
    } else {
      pending.resolve(value);
    }
  }

  #write(kind: 'event' | 'ack', id: number | undefined, args: unknown[]): void {
    const transport = this.#transport;
    if (!transport) return;
    const { text, attachments } = encode(kind, id, args);
    transport.send(text);
    for (const attachment of attachments) transport.send(attachment as Uint8Array<ArrayBuffer>);
  }

  #allowedSilence(): number {
    return this.#handshake && this.#link.phase === 'open'
      ? this.#handshake.pingInterval + this.#handshake.pingTimeout
      : CONNECT_TIMEOUT_MS;
  }

  #heard(): void {
    this.#lastHeard = Date.now();
    this.#silence ??= setTimeout(() => this.#checkAgain(), this.#allowedSilence());
  }

  /** One timer that is set again when it fires costs less than one that is reset by every message. */
  #checkAgain(): void {
    this.#silence = undefined;
    this.checkSilence();
    if (!this.#transport) return;
    const rest = this.#allowedSilence() - (Date.now() - this.#lastHeard);
    this.#silence = setTimeout(() => this.#checkAgain(), Math.max(rest, 1));
  }

  /** Forgets the transport and fails whatever waited for it. */
  #drop(reason: string): void {
    const transport = this.#transport;
    this.#transport = undefined;
    clearTimeout(this.#silence);
    this.#silence = undefined;
    if (transport) {
      transport.onmessage = null;
      transport.onclose = null;
      transport.close();
    }
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { operation, reject, timer } of pending) {
      clearTimeout(timer);
      reject(new DisconnectedError(`${operation} (${reason})`));
    }
  }

  #lost(reason: string): void {
    const answered = this.#handshake !== undefined;
    this.#drop(reason);
    const delay = this.#backoff.next();
    this.#retry = setTimeout(() => this.#dial(), delay);
    const attempt = this.#backoff.attempt;
    this.#setLink({ phase: 'waiting', attempt, retryAt: Date.now() + delay, reason, answered });
  }

  #setLink(link: Link): void {
    this.#link = link;
    this.events.emit('link', link);
  }
}

function openWebSocket(url: string): Transport {
  return new WebSocket(url) as unknown as Transport;
}

function readHandshake(json: string): Handshake {
  const { pingInterval, pingTimeout } = JSON.parse(json) as Partial<Handshake>;
  return { pingInterval: pingInterval ?? 25_000, pingTimeout: pingTimeout ?? 20_000 };
}
