// The hub as the frontend uses it: its API, user queries and changefeeds, on top of the stock socket.io client.

import { connect, randomId, valueOf } from './client.mjs';
import { ACCOUNT, startServer } from './server.mjs';
import { Inbox } from './wait.mjs';

/** A server with a hub and the rules of one account. */
export const startHub = (t, { services = 'bus,time,hub', ...options } = {}) =>
  startServer(t, { policy: 'lite', services, ...options });

/** A signed-in frontend. */
export async function frontend(t, server, options) {
  return new Frontend(await connect(t, server, options));
}

export class Frontend {
  #feeds;

  constructor(client, account = ACCOUNT) {
    this.client = client;
    this.account = account;
  }

  /** Calls a function of the hub; an error becomes an exception with its attributes. */
  async call(name, ...args) {
    const { value, headers } = await this.client.request(`hub.account.${this.account}.api`, { name, args });
    if (headers?.error) throw Object.assign(new Error(headers.error), headers.error_attrs);
    return value;
  }

  /** A user query. */
  query(query, options) {
    return this.call('db.userQuery', options === undefined ? { query } : { query, options });
  }

  /** Opens a changefeed and sends its query; all feeds of a frontend share one subscription. */
  async feed(query, { options = [], account = this.account } = {}) {
    const feed = await this.socket(account);
    feed.write({ query, options });
    return feed;
  }

  /** A changefeed's socket, on which nothing has been said. */
  async socket(account = this.account) {
    const base = `changefeeds.account-${account}`;
    const feed = new Feed(this.client, base);
    if (account === this.account) {
      this.#feeds ??= this.#subscribe(base);
      (await this.#feeds).set(feed.inbox, feed);
    } else {
      await this.client.subscribe(feed.inbox, randomId(), (message) => feed.deliver(message));
    }
    await feed.connect();
    return feed;
  }

  async #subscribe(base) {
    const feeds = new Map();
    await this.client.subscribe(`${base}.client.*`, randomId(), (message) =>
      feeds.get(message.subject)?.deliver(message),
    );
    return feeds;
  }
}

/** The client's end of a virtual socket, as far as feeds need it. */
export class Feed {
  #client;
  #base;
  #id = randomId();
  #server;
  #seq = 0;
  #received = 0;

  /** What the server wrote, in order. */
  messages = new Inbox();

  constructor(client, base) {
    this.#client = client;
    this.#base = base;
    this.inbox = `${base}.client.${this.#id}`;
    this.closed = new Promise((resolve) => (this.end = resolve));
  }

  async connect() {
    const { value } = await this.#client.request(`${this.#base}.server.status`, null);
    this.#server = `${this.#base}.server.${value.id}.${this.#id}`;
    await this.#command('connect');
  }

  /** Writes a message to the server. */
  write(value) {
    this.#client.send(this.#server, value, { headers: { 'CN-SocketSeq': ++this.#seq } });
  }

  /** The next message of the server. */
  next() {
    return this.messages.next({ what: `message on ${this.inbox}` });
  }

  /** The rows of the first message. */
  async rows(table) {
    return (await this.next()).update[table];
  }

  /** Closes the socket and waits until the server knows. */
  close() {
    return this.#command('close');
  }

  #command(command, value = null) {
    return this.#client.request(this.#server, value, { headers: { 'CN-SocketCmd': command, id: this.#id } });
  }

  deliver(message) {
    const { 'CN-SocketCmd': command, 'CN-SocketSeq': seq, 'CN-Reply': reply } = message.headers;
    if (command === 'close') {
      this.messages.close('the server closed the socket');
      this.end(performance.now());
    } else if (command) {
      if (reply) this.#client.send(reply, command === 'socket' ? valueOf(message).socket : null);
    } else if (seq) {
      // The newest message is repeated until it is acknowledged.
      if (seq > this.#received) this.messages.push(valueOf(message));
      this.#received = Math.max(seq, this.#received);
      // Whether the server has taken note is of no interest to anybody here.
      this.#command('socket', { socket: { emitted: seq } }).catch(() => {});
    }
  }
}
