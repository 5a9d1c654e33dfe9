// The client's side of streams: a virtual socket in either dialect, requests on it, and its changefeed. What it does not do by
// itself is recover: tests want to see what the server does.

import { decode, encode } from '@msgpack/msgpack';
import { randomId, valueOf, whole } from './client.mjs';
import { Inbox, SOON } from './wait.mjs';

/** Both dialects of virtual sockets: A asks to connect, B announces itself. */
export const DIALECTS = ['A', 'B'];

/** The id of the server that serves a scope. */
export const serverOf = async (client, scope, service = 'persist') =>
  (await client.request(`${service}.${scope}.id`, null)).value;

/** An operation of `setMany`. */
export function operation(value, { headers, encoding = 0, raw = encode(value), ...rest } = {}) {
  return { messageData: { encoding, raw, ...(headers === undefined ? {} : { headers }) }, ...rest };
}

/** The value of a stored message or event. */
export const content = ({ raw, encoding = 0 }) =>
  encoding === 1 ? JSON.parse(Buffer.from(raw).toString()) : decode(raw);

export class Stream {
  #seq = 0;
  #received = 0;

  /** Events of the changefeed, in order. */
  events = new Inbox();
  /** Frames of the changefeed, as `{events, headers}`. */
  frames = new Inbox();
  /** Data messages without payload: the open has failed. */
  failures = new Inbox();
  /** Socket commands of the server, as `{command, headers}`. */
  commands = new Inbox();
  /** Whether feed frames are acknowledged. */
  acknowledges = true;

  constructor(client, { scope = 'hub', service = 'persist', server = '0', dialect = 'A' } = {}) {
    this.client = client;
    this.dialect = dialect;
    this.id = randomId();
    this.clientSubject = `${service}.${scope}.client.${this.id}`;
    this.serverSubject = `${service}.${scope}.server.${server}.${this.id}`;
    this.closed = new Promise((resolve) => (this.isClosed = resolve));
  }

  /** Connects the virtual socket. */
  async connect() {
    const deliver = whole((message) => this.#receive(message));
    await this.client.subscribe(this.clientSubject, randomId(), deliver);
    const headers = { 'CN-SocketCmd': 'connect', id: this.id };
    if (this.dialect === 'A') {
      const { value } = await this.client.request(this.serverSubject, null, { headers });
      if (value !== 'connected') throw new Error(`connect was answered with ${JSON.stringify(value)}`);
    } else {
      this.client.send(this.serverSubject, null, { headers: { ...headers, 'CN-SocketConnectAttempt': 1 } });
      await this.commands.next({ where: ({ command }) => command === 'connected', what: 'connected' });
    }
    return this;
  }

  /** Writes a data message. */
  write(value) {
    this.client.send(this.serverSubject, value, { headers: { 'CN-SocketSeq': ++this.#seq } });
  }

  /** Writes the open message; there is no answer. */
  open(path, { changefeed = false, ...storage } = {}) {
    this.write({ storage: { path, ...storage }, changefeed });
    return this;
  }

  #receive(message) {
    const headers = message.headers ?? {};
    const reply = headers['CN-Reply'];
    const command = headers['CN-SocketCmd'];
    if (command) {
      this.commands.push({ command, headers });
      if (command === 'ping' && reply) this.client.send(reply, null);
      if (command === 'socket' && reply) this.client.send(reply, { emitted: valueOf(message).socket.emitted });
      if (command === 'close') this.isClosed('closed by the server');
      return;
    }
    const seq = headers['CN-SocketSeq'];
    // The newest frame is repeated until it is acknowledged.
    if (seq <= this.#received) return;
    if (seq !== ++this.#received) throw new Error(`frame ${seq} came after ${this.#received - 1}`);
    const value = valueOf(message);
    if (value === null) this.failures.push(headers);
    else {
      this.frames.push({ events: value, headers });
      for (const event of value) this.events.push(event);
    }
    if (this.acknowledges) this.acknowledge();
  }

  /** Acknowledges everything that has come. */
  acknowledge() {
    const acknowledged = this.client.request(
      this.serverSubject,
      { socket: { emitted: this.#received } },
      { headers: { 'CN-SocketCmd': 'socket' } },
    );
    // The server may be gone by now.
    acknowledged.catch(() => {});
  }

  /** Pings the server. */
  ping() {
    return this.client.request(this.serverSubject, null, { headers: { 'CN-SocketCmd': 'ping' } });
  }

  /** Sends a request; gives the inbox of its answers. */
  send(cmd, parameters = {}, value = null, encoding = undefined) {
    return this.client.requestMany(this.serverSubject, value, { headers: { ...parameters, cmd }, encoding });
  }

  /** Sends a request and gives its answer; an error of the server becomes an exception with `code`. */
  async ask(cmd, parameters, value, encoding) {
    const answers = await this.send(cmd, parameters, value, encoding);
    return answerOf(answers, cmd);
  }

  /** `{seq, time}` of a new message. */
  async set(value, { encoding, ...parameters } = {}) {
    return (await this.ask('set', parameters, value, encoding)).value;
  }

  async setMany(operations) {
    return (await this.ask('setMany', {}, operations)).value;
  }

  /** The message as `{value, headers}`, or undefined. */
  async get(parameters) {
    const { value, headers } = await this.ask('get', parameters);
    return headers === undefined ? undefined : { value, headers };
  }

  async delete(parameters) {
    return (await this.ask('delete', parameters)).value;
  }

  async keys() {
    return (await this.ask('keys')).value;
  }

  async inventory() {
    return (await this.ask('inventory')).value;
  }

  async config(config) {
    return (await this.ask('config', config === undefined ? {} : { config })).value;
  }

  async changefeed() {
    return (await this.ask('changefeed')).value;
  }

  /** Everything of a range: `{messages, frames, first}`, the headers of the first frame last. Checks the framing. */
  async getAll(parameters = {}) {
    const answers = await this.send('getAll', parameters);
    const [messages, frames] = [[], []];
    for (;;) {
      const answer = await answers.next({ what: `frame ${frames.length} of getAll` });
      if (answer.headers.error) throw failureOf(answer.headers);
      if (answer.headers.seq !== frames.length) throw new Error(`frame ${answer.headers.seq} is not ${frames.length}`);
      const value = valueOf(answer);
      frames.push({ headers: answer.headers, bytes: answer.raw.byteLength, count: value?.length });
      if (value === null) return { messages, frames, first: frames[0].headers };
      if (!value.length) throw new Error('an empty frame');
      messages.push(...value);
    }
  }

  /** The contents of all messages. */
  async contents(parameters) {
    return (await this.getAll(parameters)).messages.map(content);
  }

  /** The next event that fits. */
  event(where, ms = SOON) {
    return this.events.next({ where, what: 'event', ms });
  }

  /** Closes the socket; returns when the server knows. */
  async close() {
    const headers = { 'CN-SocketCmd': 'close', id: this.id };
    if (this.dialect === 'A') {
      await this.client.request(this.serverSubject, null, { headers });
    } else {
      await this.client.publish(this.serverSubject, null, { headers });
    }
    await this.client.ask('unsubscribe', { subject: this.clientSubject });
  }
}

/** What a request was answered with, as `{value, headers, encoding}`; an error of the server becomes an exception. */
export async function answerOf(answers, what, ms = SOON) {
  const answer = await answers.next({ what: `answer to ${what}`, ms });
  // A hit of `get` may have a header of its own that is called error.
  if (answer.headers?.error && typeof answer.headers.seq !== 'number') throw failureOf(answer.headers);
  return { value: valueOf(answer), headers: answer.headers, encoding: answer.encoding };
}

function failureOf({ error, code }) {
  return Object.assign(new Error(error), code === undefined ? {} : { code });
}

/**
 * A stream that is opened; whether that went well shows with the first request. With `changefeed`, the feed hears of everything
 * that is written after this returns, by whomever.
 */
export async function openStream(client, path, { scope, service, server, dialect, ...storage } = {}) {
  const stream = new Stream(client, { scope, service, server, dialect });
  await stream.connect();
  stream.open(path, storage);
  if (storage.changefeed) await stream.ask('serverId');
  return stream;
}
