// What an application sees: the stock socket.io client plus the bus conventions on top of it (frames, inbox,
// request and reply, services). Payload bytes are MessagePack from the public package.

import { randomBytes } from 'node:crypto';
import { decode, encode } from '@msgpack/msgpack';
import { io } from 'socket.io-client';
import { Inbox, SOON, within } from './wait.mjs';

export const randomId = () => randomBytes(5).toString('hex');

export class Client {
  #inbox;
  #replies = new Map();

  constructor(socket) {
    this.socket = socket;
    /** Every `info` the server sent. */
    this.infos = new Inbox();
    /** What was subscribed to, pattern to queue: what a client has to subscribe to again after a reconnect. */
    this.wanted = new Map();
    /** Every `permission` event the server sent. */
    this.permissions = new Inbox();
    socket.on('info', (info, acknowledge) => {
      this.info = info;
      this.infos.push(info);
      acknowledge?.();
    });
    socket.on('permission', (refusal) => this.permissions.push(refusal));
  }

  get sid() {
    return this.socket.id;
  }

  /** Emits an event and gives the argument of its acknowledgement. */
  ask(event, argument = null, ms = SOON) {
    return this.socket.timeout(ms).emitWithAck(event, argument);
  }

  /** Collects the messages of a pattern without subscribing to it, or hands each to `deliver`. */
  listen(pattern, deliver) {
    const messages = new Inbox();
    deliver ??= (message) => messages.push(message);
    this.socket.on(pattern, ({ subject, data }) => {
      const [id, seq, done, encoding, raw, headers] = data;
      deliver({ subject, data, id, seq, done, encoding, raw, headers });
    });
    return messages;
  }

  /** Subscribes and gives the inbox its messages come to; fails when the server refuses. */
  async subscribe(pattern, queue = randomId(), deliver = undefined) {
    const messages = this.listen(pattern, deliver);
    const answer = await this.ask('subscribe', { subject: pattern, queue });
    if (answer?.status !== 'added') throw new Error(`subscribe ${pattern}: ${JSON.stringify(answer)}`);
    this.wanted.set(pattern, queue);
    return messages;
  }

  /** Publishes one message with acknowledgement, in chunks if it is large; gives what the server answered to the last. */
  publish(subject, value, { ms, ...options } = {}) {
    const chunks = chunksOf(frame(subject, value, options));
    for (const chunk of chunks.slice(0, -1)) this.socket.emit('publish', chunk);
    return this.ask('publish', chunks.at(-1), ms);
  }

  /** Publishes one message and forgets it. */
  send(subject, value, options) {
    this.socket.emit('publish', frame(subject, value, options));
  }

  async count(subject) {
    const answer = await this.publish(subject, null);
    if (!Number.isInteger(answer?.count)) throw new Error(`publish ${subject}: ${JSON.stringify(answer)}`);
    return answer.count;
  }

  /** Asks whether somebody listens, without waiting. */
  interest(subject) {
    return this.ask('wait-for-interest', { subject, timeout: 0 });
  }

  /** Where answers come to; `prefix` must be the user's own when the policy says so. */
  async openInbox(prefix = inboxPrefix(this.info?.user)) {
    const inbox = `${prefix}.${randomId()}`;
    const deliver = whole((message) => this.#replies.get(message.subject)?.push(message));
    await this.subscribe(`${inbox}.*`, randomId(), deliver);
    this.#inbox = inbox;
  }

  /** The inbox that answers to one request arrive in. Fails with code 503 when nobody listens. */
  async requestMany(subject, value, { headers = {}, encoding } = {}) {
    if (!this.#inbox) await this.openInbox();
    const reply = `${this.#inbox}.${randomId()}`;
    const answers = new Inbox();
    this.#replies.set(reply, answers);
    const { count, error, code } = await this.publish(subject, value, {
      headers: { ...headers, 'CN-Reply': reply },
      encoding,
    });
    if (error) throw Object.assign(new Error(error), { code });
    if (!count) throw Object.assign(new Error(`no subscribers matching ${subject}`), { code: 503 });
    return answers;
  }

  /** The first answer to a request as `{value, headers}`. */
  async request(subject, value, options = {}) {
    const answers = await this.requestMany(subject, value, options);
    const answer = await answers.next({ what: `answer from ${subject}`, ms: options.ms });
    return { value: valueOf(answer), headers: answer.headers };
  }

  /** Calls a method of a method-array service; its error becomes an exception with `code`. */
  async call(subject, method, ...args) {
    const { value, headers } = await this.request(subject, [method, args]);
    if (headers?.error) throw Object.assign(new Error(headers.error), headers.error_attrs);
    return value;
  }

  /** Answers every request on a pattern with what `handle(value, message)` gives as `{value, headers}`. */
  async serve(pattern, handle, queue = '0') {
    await this.subscribe(pattern, queue, async (message) => {
      const reply = message.headers?.['CN-Reply'];
      if (!reply) return;
      const { value, headers } = await handle(valueOf(message), message);
      this.send(reply, value, { headers });
    });
  }

  close() {
    this.socket.close();
  }
}

/** The value a message carries. */
export function valueOf({ encoding, raw }) {
  return encoding === 1 ? JSON.parse(Buffer.from(raw).toString()) : decode(new Uint8Array(raw));
}

/** The argument of one `publish` event that carries a whole message. */
export function frame(subject, value, { headers, id = randomId(), encoding = 0 } = {}) {
  const raw = encoding === 1 ? Buffer.from(JSON.stringify(value)) : Buffer.from(encode(value));
  return headers === undefined ? [subject, id, 0, 1, encoding, raw] : [subject, id, 0, 1, encoding, raw, headers];
}

/** Leaves room for headers below the server's largest message. */
const CHUNK_BYTES = 7_900_000;

function chunksOf(frame) {
  const [subject, id, , , encoding, raw, ...headers] = frame;
  if (raw.length <= CHUNK_BYTES) return [frame];
  const count = Math.ceil(raw.length / CHUNK_BYTES);
  return Array.from({ length: count }, (_, seq) => {
    const last = seq === count - 1;
    const chunk = raw.subarray(seq * CHUNK_BYTES, (seq + 1) * CHUNK_BYTES);
    return [subject, id, seq, last ? 1 : 0, encoding, chunk, ...(last ? headers : [])];
  });
}

/** Puts messages in chunks together before they are delivered. */
export function whole(deliver) {
  const parts = new Map();
  return (message) => {
    const { id, seq, done, raw } = message;
    if (seq === 0 && done) return deliver(message);
    const chunks = parts.get(id) ?? [];
    if (chunks.length !== seq) throw new Error(`chunk ${seq} of ${id} came after ${chunks.length}`);
    chunks.push(raw);
    parts.set(id, chunks);
    if (!done) return undefined;
    parts.delete(id);
    return deliver({ ...message, raw: Buffer.concat(chunks.map((chunk) => new Uint8Array(chunk))) });
  };
}

function inboxPrefix(user) {
  if (user?.account_id) return `_INBOX.account-${user.account_id}`;
  if (user?.project_id) return `_INBOX.project-${user.project_id}`;
  if (user?.hub_id) return `_INBOX.hub-${user.hub_id}`;
  return '_INBOX';
}

/** A method-array service made of functions, in the form `Client.serve` wants. */
export function methods(table) {
  return async ([name, args], message) => {
    try {
      if (!Object.hasOwn(table, name)) throw new Error(`${name} not defined`);
      return { value: (await table[name].call(message, ...args)) ?? null };
    } catch (error) {
      const attributes = error.code === undefined ? {} : { code: error.code };
      return { value: null, headers: { error: error.message, error_attrs: attributes } };
    }
  };
}

/** A client that has not waited for anything yet. */
export function dial(t, server, { cookie, headers, auth, reconnection = false, ...options } = {}) {
  const socket = io(`http://${server.host}`, {
    path: `${server.basePath}/conat`,
    transports: ['websocket'],
    forceNew: true,
    reconnection,
    reconnectionDelay: 100,
    reconnectionDelayMax: 500,
    auth,
    extraHeaders: { ...(cookie ? { cookie } : {}), ...headers },
    ...options,
  });
  const client = new Client(socket);
  t?.after(() => client.close());
  return client;
}

/** A client that has received `info`. */
export async function connect(t, server, options) {
  const client = dial(t, server, options);
  const refused = new Promise((_, reject) => client.socket.once('connect_error', reject));
  refused.catch(() => {});
  await within(SOON, Promise.race([client.infos.next(), refused]), 'info');
  return client;
}
