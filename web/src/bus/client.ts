import { chunkSize, DEFAULT_MAX_PAYLOAD_BYTES, split } from './chunk';
import { Connection, type ConnectionOptions, type Incoming, type Link } from './connection';
import { Emitter } from './emitter';
import { BusError, timeoutError } from './error';
import { randomId } from './id';
import { Inbox } from './inbox';
import { encodePayload, MESSAGE_PACK, type Headers, type Message } from './message';
import { Refusals } from './permissions';
import { ReceiveStatistics } from './statistics';
import { isSubject } from './subject';
import { Subscriptions, type Handler, type Subscription } from './subscriptions';

/** Who is signed in; `null` on a server without accounts. */
export type User = { account_id?: string; project_id?: string; hub_id?: string; error?: string; code?: number } | null;

/** What the server says at sign-in. */
export interface Info {
  id: string;
  max_payload: number;
  clusterName?: string;
  user: User;
}

/** Where a client stands. */
export type ClientState =
  | { phase: 'connecting'; attempt: number }
  | { phase: 'connected'; info: Info; sid: string }
  | { phase: 'waiting'; attempt: number; retryAt: number; reason: string; answered: boolean }
  | { phase: 'signed-out'; error: string; code: number | undefined }
  | { phase: 'closed'; reason: string };

/** Options of a publish. */
export interface PublishOptions {
  headers?: Headers;
  timeoutMs?: number;
  /** If nobody listens, wait for somebody and try once more. */
  waitForInterest?: boolean;
}

/** Options of a request for many responses. */
export interface RequestManyOptions extends PublishOptions {
  maxMessages?: number;
  /** Ends after this long without a response. */
  maxWaitMs?: number;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** The longest the server waits for interest. */
const MAX_WAIT_MS = 90_000;
/** With less than this left, a second publish could not be acknowledged in time. */
const MIN_RETRY_MS = 500;
/** From the connection to the server's `info`. */
const SIGN_IN_TIMEOUT_MS = 30_000;
/** A healthy server answers anything within this. */
const VERIFY_TIMEOUT_MS = 5_000;

/** A client of the bus: subscribe, publish, request. It survives reconnects and restarts of the server. */
export class Client {
  /** `state` whenever it changes. */
  readonly events = new Emitter<{ state: ClientState }>();
  /** Names this client wherever the protocol wants a name for it. */
  readonly id = randomId();
  #state: ClientState = { phase: 'closed', reason: 'not opened' };
  #refused: ClientState | undefined;
  #sid = '';
  #signInTimer: ReturnType<typeof setTimeout> | undefined;
  #verifying = false;
  readonly #connection: Connection;
  readonly #refusals = new Refusals();
  readonly #subscriptions: Subscriptions;
  readonly #statistics: ReceiveStatistics;
  readonly #inbox: Inbox;

  constructor(options: ConnectionOptions) {
    const connection = new Connection(options);
    this.#connection = connection;
    const isLive = () => this.#state.phase === 'connected';
    this.#subscriptions = new Subscriptions(
      {
        get live() {
          return isLive();
        },
        request: (event, argument, timeoutMs) => connection.request(event, argument, timeoutMs),
        emit: (event, argument) => connection.emit(event, argument),
      },
      this.#refusals,
    );
    this.#statistics = new ReceiveStatistics((recv0) => connection.emit('stats', { recv0 }));
    this.#inbox = new Inbox((pattern, handler) => this.#subscriptions.add(pattern, handler));
    connection.events.on('link', (link) => this.#linkChanged(link));
    connection.events.on('event', (incoming) => this.#received(incoming));
  }

  /** Where the client stands now. */
  get state(): ClientState {
    return this.#state;
  }

  /** The subject all reply subjects of this client begin with. */
  get inbox(): string {
    return this.#inbox.subject;
  }

  /** Connects, and keeps connecting. */
  open(): void {
    this.#connection.open();
  }

  /** Unsubscribes from everything and ends the connection for good. */
  close(): void {
    this.#subscriptions.close();
    this.#statistics.stop();
    this.#connection.close();
  }

  /** Ends the connection because the server wants a sign-in first. */
  signOut(error: string, code?: number): void {
    this.#refused = { phase: 'signed-out', error, code };
    this.#connection.close('signed out');
    this.#refused = undefined;
  }

  /** Doesn't wait for the back-off. */
  retryNow(): void {
    if (this.#state.phase === 'signed-out') this.#connection.open();
    else this.#connection.retryNow();
  }

  /** To be called when the machine woke up or came back to a network: finds a dead connection quickly. */
  async verify(): Promise<void> {
    this.#connection.retryNow();
    this.#connection.checkSilence();
    if (this.#state.phase !== 'connected' || this.#verifying) return;
    this.#verifying = true;
    try {
      const probe = { subject: `${this.#inbox.subject}.probe`, timeout: 0 };
      await this.#connection.request('wait-for-interest', probe, VERIFY_TIMEOUT_MS);
    } catch (error) {
      if (error instanceof BusError && error.code === 408) this.#connection.cut('the server does not answer');
    } finally {
      this.#verifying = false;
    }
  }

  /** Resolves when signed in; rejects when sign-in is refused or takes too long. May be told to wait for ever. */
  connected(timeoutMs = DEFAULT_TIMEOUT_MS): Promise<Info> {
    if (this.#state.phase === 'connected') return Promise.resolve(this.#state.info);
    if (this.#state.phase === 'signed-out') return Promise.reject(new BusError(this.#state.error, this.#state.code));
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        stop();
        act();
      };
      const stop = this.events.on('state', (state) => {
        if (state.phase === 'connected') settle(() => resolve(state.info));
        else if (state.phase === 'signed-out') settle(() => reject(new BusError(state.error, state.code)));
        else if (state.phase === 'closed') settle(() => reject(new BusError('closed')));
      });
      const timer = Number.isFinite(timeoutMs)
        ? setTimeout(() => settle(() => reject(timeoutError('connect'))), timeoutMs)
        : undefined;
    });
  }

  /** Listens to a pattern. Without `queue` every message comes here; with it, the members of the queue share them. */
  subscribe(pattern: string, handler: Handler, queue?: string): Subscription {
    return this.#subscriptions.add(pattern, handler, queue);
  }

  /** Publishes without waiting; while there is no connection the message is kept for the next one. */
  send(subject: string, data: unknown, headers?: Headers): void {
    this.sendRaw(subject, MESSAGE_PACK, encodePayload(data), headers);
  }

  /** Publishes bytes that are already encoded, without waiting. */
  sendRaw(subject: string, encoding: number, raw: Uint8Array, headers?: Headers): void {
    this.#checkPublish(subject);
    for (const frame of this.#frames(subject, encoding, raw, headers)) this.#connection.emit('publish', frame);
  }

  /** Publishes and resolves with the number of queue groups that were sent the message. */
  async publish(subject: string, data: unknown, options: PublishOptions = {}): Promise<number> {
    this.#checkPublish(subject);
    const raw = encodePayload(data);
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const deadline = Date.now() + timeoutMs;
    const count = await this.#publishOnce(subject, raw, options.headers, deadline);
    if (count > 0 || !options.waitForInterest || Date.now() > deadline) return count;
    await this.waitForInterest(subject, deadline - Date.now());
    if (deadline - Date.now() <= MIN_RETRY_MS) return 0;
    return this.#publishOnce(subject, raw, options.headers, deadline);
  }

  /** Waits until somebody listens to `subject`; with a timeout of 0 answers at once whether somebody does. */
  async waitForInterest(subject: string, timeoutMs: number): Promise<boolean> {
    this.#checkPublish(subject);
    await this.connected(timeoutMs || DEFAULT_TIMEOUT_MS);
    const timeout = Math.min(timeoutMs, MAX_WAIT_MS);
    const found = await this.#connection.request('wait-for-interest', { subject, timeout }, timeout || 10_000);
    return found === true;
  }

  /** Sends a request and resolves with its first response; rejects with the error a service answers. */
  async request(subject: string, data: unknown, options: PublishOptions = {}): Promise<Message> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    for await (const message of this.requestMany(subject, data, { ...options, maxMessages: 1, maxWaitMs: timeoutMs })) {
      const error = responseError(message);
      if (error) throw error;
      return message;
    }
    throw timeoutError(`request to '${subject}'`);
  }

  /** Sends a request and yields its responses, those with an `error` header included. */
  async *requestMany(subject: string, data: unknown, options: RequestManyOptions = {}): AsyncGenerator<Message> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const deadline = Date.now() + timeoutMs;
    await this.connected(timeoutMs);
    await this.#inboxReady(subject, deadline - Date.now());
    const replies = this.#inbox.expect(options.maxWaitMs ?? DEFAULT_TIMEOUT_MS, options.maxMessages);
    const headers = { ...options.headers, 'CN-Reply': replies.subject };
    // A response can overtake the acknowledgement, so the stream is read while the publish is still under way.
    this.publish(subject, data, { ...options, headers }).then(
      (count) => {
        if (count === 0) replies.fail(new BusError(`nobody listens to '${subject}'`, 503, { subject }));
      },
      (error: unknown) => replies.fail(error instanceof Error ? error : new Error(String(error))),
    );
    yield* replies;
  }

  /** Answers a request; a message that is none is left alone. */
  respond(request: Message, data: unknown, headers?: Headers): void {
    if (request.reply) this.send(request.reply, data, headers);
  }

  /** A server that refuses the inbox is asked again for ever; whoever has a request waits no longer than it may take. */
  #inboxReady(subject: string, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = Number.isFinite(timeoutMs)
        ? setTimeout(() => reject(timeoutError(`request to '${subject}'`)), timeoutMs)
        : undefined;
      void this.#inbox.ready.then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #checkPublish(subject: string): void {
    if (!isSubject(subject)) throw new BusError(`invalid subject '${subject}'`);
    this.#refusals.check('pub', subject);
  }

  #frames(subject: string, encoding: number, raw: Uint8Array, headers: Headers | undefined) {
    const maxPayload = this.#state.phase === 'connected' ? this.#state.info.max_payload : DEFAULT_MAX_PAYLOAD_BYTES;
    return split(subject, randomId(), encoding, raw, headers, chunkSize(maxPayload));
  }

  async #publishOnce(
    subject: string,
    raw: Uint8Array,
    headers: Headers | undefined,
    deadline: number,
  ): Promise<number> {
    await this.connected(deadline - Date.now());
    const frames = this.#frames(subject, MESSAGE_PACK, raw, headers);
    const rest = Math.max(deadline - Date.now(), 1);
    const acks = await Promise.all(frames.map((frame) => this.#connection.request('publish', frame, rest)));
    return Math.max(...acks.map((ack) => (ack as { count?: number } | null)?.count ?? 0));
  }

  #linkChanged(link: Link): void {
    clearTimeout(this.#signInTimer);
    if (link.phase === 'open') {
      this.#sid = link.sid;
      this.#signInTimer = setTimeout(() => this.#connection.cut('no answer to the sign-in'), SIGN_IN_TIMEOUT_MS);
      this.#setState({ phase: 'connecting', attempt: 0 });
      return;
    }
    this.#statistics.stop();
    this.#setState((link.phase === 'closed' && this.#refused) || link);
  }

  #received({ name, args, acknowledge }: Incoming): void {
    switch (name) {
      case 'info':
        acknowledge?.();
        this.#signedIn(args[0] as Info);
        return;
      case 'permission':
        this.#refusals.note(args[0]);
        return;
      default: {
        const message = this.#subscriptions.deliver(name, args[0]);
        if (message) this.#statistics.count(message.raw.length);
      }
    }
  }

  #signedIn(info: Info): void {
    clearTimeout(this.#signInTimer);
    const { user } = info;
    if (user?.error !== undefined) {
      this.signOut(user.error, user.code);
      return;
    }
    // The server repeats `info` when our acknowledgement was slow.
    const repeated = this.#state.phase === 'connected';
    if (!repeated) this.#refusals.clear();
    this.#setState({ phase: 'connected', info, sid: this.#sid });
    this.#inbox.use(inboxPrefix(user));
    if (!repeated) this.#statistics.start();
    void this.#subscriptions.resync();
  }

  #setState(state: ClientState): void {
    this.#state = state;
    this.events.emit('state', state);
  }
}

/** The error a response carries in its headers, if it does. */
export function responseError(message: Message): BusError | undefined {
  const { error, error_attrs: attributes, code } = message.headers;
  if (typeof error !== 'string' || error === '') return undefined;
  const known = (typeof attributes === 'object' && attributes !== null ? attributes : {}) as Record<string, unknown>;
  return new BusError(error, (known.code ?? code) as number | string | undefined, known);
}

function inboxPrefix(user: User): string {
  if (user?.account_id) return `_INBOX.account-${user.account_id}`;
  if (user?.project_id) return `_INBOX.project-${user.project_id}`;
  if (user?.hub_id) return `_INBOX.hub-${user.hub_id}`;
  return '_INBOX';
}
