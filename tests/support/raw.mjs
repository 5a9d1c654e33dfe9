// A peer that speaks Engine.IO and Socket.IO by hand over a plain WebSocket, so that tests see and send exactly
// what is on the wire.

import { WebSocket } from 'ws';
import { Inbox, SOON, within } from './wait.mjs';
import { ENGINE, PACKET, decode, encode, reconstruct } from './packet.mjs';

export class RawPeer {
  #websocket;
  #pending;
  #nextAck = 0;

  /** Every WebSocket message as `{text}` or `{bytes}` with `at`, the moment of its arrival. */
  wire = new Inbox();
  /** Socket.IO packets with their attachments put back: `{type, id, data, name?, args?}`. */
  packets = new Inbox();
  /** Moments at which the server sent an Engine.IO ping. */
  pings = new Inbox();
  /** Sentences about a server that broke the framing. */
  violations = [];

  constructor(websocket, { pong = true, ackInfo = true } = {}) {
    this.#websocket = websocket;
    this.pong = pong;
    this.ackInfo = ackInfo;
    this.closed = new Promise((resolve) => {
      websocket.on('close', (code) => {
        const reason = `the server closed the WebSocket with ${code}`;
        for (const inbox of [this.wire, this.packets, this.pings]) inbox.close(reason);
        resolve({ code, at: performance.now() });
      });
    });
    // A refused handshake and a reset connection are seen through `closed`.
    websocket.on('error', () => {});
    websocket.on('message', (data, isBinary) => {
      const at = performance.now();
      if (isBinary) this.#bytes(data, at);
      else this.#text(data.toString(), at);
    });
  }

  get isOpen() {
    return this.#websocket.readyState === WebSocket.OPEN;
  }

  get extensions() {
    return this.#websocket.extensions;
  }

  #text(text, at) {
    this.wire.push({ text, at });
    if (text[0] === ENGINE.ping) {
      this.pings.push({ at });
      if (this.pong) this.send(ENGINE.pong);
    }
    if (text[0] !== ENGINE.message) return;
    if (this.#pending) this.violations.push(`text ${text.slice(0, 80)} inside an attachment group`);
    const packet = { ...decode(text.slice(1)), at };
    if (packet.count) this.#pending = { packet, attachments: [] };
    else this.#packet(packet);
  }

  #bytes(bytes, at) {
    this.wire.push({ bytes, at });
    if (!this.#pending) {
      this.violations.push(`binary message of ${bytes.length} bytes that no packet announced`);
      return;
    }
    const { packet, attachments } = this.#pending;
    attachments.push(bytes);
    if (attachments.length < packet.count) return;
    this.#pending = undefined;
    this.#packet({ ...packet, attachments, data: reconstruct(packet.data, attachments) });
  }

  #packet(packet) {
    if (packet.type === PACKET.event || packet.type === PACKET.binaryEvent) {
      const [name, ...args] = packet.data;
      packet = { ...packet, name, args };
      if (name === 'info' && this.ackInfo && packet.id !== undefined) this.send(`43${packet.id}[]`);
    }
    this.packets.push(packet);
  }

  /** Sends one WebSocket message, text or binary, as it is. */
  send(message) {
    this.#websocket.send(message);
  }

  /** Sends CONNECT and gives the Socket.IO sid of the answer. */
  async connect(auth) {
    this.send(auth === undefined ? '40' : `40${JSON.stringify(auth)}`);
    const { data } = await this.packets.next({ where: (packet) => packet.type === PACKET.connect, what: '40{sid}' });
    this.sid = data.sid;
    return this.sid;
  }

  /** The next event of this name. */
  event(name, { ms = SOON, where = () => true } = {}) {
    return this.packets.next({ where: (packet) => packet.name === name && where(packet), what: `event ${name}`, ms });
  }

  /** Emits an event without asking for an acknowledgement. */
  emit(name, ...args) {
    for (const message of encode(PACKET.event, [name, ...args])) this.send(message);
  }

  /** Emits an event and gives the arguments of its acknowledgement. */
  async ask(name, ...args) {
    return this.answer(this.emitWithId(name, ...args));
  }

  /** Emits an event that wants an acknowledgement; gives the id it will carry. */
  emitWithId(name, ...args) {
    const id = this.#nextAck++;
    for (const message of encode(PACKET.event, [name, ...args], id)) this.send(message);
    return id;
  }

  /** The arguments of the acknowledgement with this id. */
  async answer(id, ms = SOON) {
    const packet = await this.packets.next({ where: isAckOf(id), what: `acknowledgement ${id}`, ms });
    return packet.data;
  }

  /** Whether an acknowledgement with this id lies untaken. */
  hasAnswer(id) {
    return this.packets.items.some(isAckOf(id));
  }

  /** Acknowledges an event of the server. */
  acknowledge(id, ...args) {
    for (const message of encode(PACKET.ack, args, id)) this.send(message);
  }

  /** Publishes one frame without acknowledgement. */
  publish(subject, raw, { id = 'id00000001', seq = 0, done = 1, encoding = 0, headers } = {}) {
    this.emit('publish', frame(subject, raw, { id, seq, done, encoding, headers }));
  }

  /** Publishes one frame; gives the single argument of the acknowledgement, which has to come within `ms`. */
  async publishAcked(subject, raw, { id = 'id00000001', seq = 0, done = 1, encoding = 0, headers, ms } = {}) {
    const ack = this.emitWithId('publish', frame(subject, raw, { id, seq, done, encoding, headers }));
    return (await this.answer(ack, ms))[0];
  }

  /** Subscribes; gives the single argument of the acknowledgement. */
  async subscribe(subject, queue = `q-${this.sid}`) {
    return (await this.ask('subscribe', { subject, queue }))[0];
  }

  /** Goes on reading and answering pings but keeps nothing of it. */
  ignoreFromNowOn() {
    for (const inbox of [this.wire, this.packets, this.pings]) inbox.push = () => {};
  }

  pause() {
    this.#websocket.pause();
  }

  resume() {
    this.#websocket.resume();
  }

  close() {
    this.#websocket.close();
  }

  terminate() {
    this.#websocket.terminate();
  }
}

const isAckOf = (id) => (packet) =>
  packet.id === id && (packet.type === PACKET.ack || packet.type === PACKET.binaryAck);

function frame(subject, raw, { id, seq, done, encoding, headers }) {
  const elements = [subject, id, seq, done, encoding, Buffer.from(raw)];
  if (headers !== undefined) elements.push(headers);
  return elements;
}

/** The WebSocket URL of a server's bus. */
export function busUrl(server, { path = `${server.basePath}/conat/`, query = 'EIO=4&transport=websocket' } = {}) {
  return `ws://${server.host}${path}?${query}`;
}

/** Opens the WebSocket and takes the open packet, which becomes `peer.open`; CONNECT is left to the caller. */
export async function openRaw(t, server, { path, query, headers, cookie, perMessageDeflate = false, ...options } = {}) {
  const websocket = new WebSocket(busUrl(server, { path, query }), {
    perMessageDeflate,
    maxPayload: 0,
    headers: { ...(cookie ? { cookie } : {}), ...headers },
  });
  const peer = new RawPeer(websocket, options);
  t?.after(() => peer.terminate());
  const { text } = await peer.wire.next({ what: 'open packet' });
  if (text?.[0] !== ENGINE.open) throw new Error(`not an open packet: ${text}`);
  peer.openText = text;
  peer.open = JSON.parse(text.slice(1));
  return peer;
}

/** Opens, connects and waits for `info`, whose argument becomes `peer.info`. */
export async function connectRaw(t, server, { auth, ...options } = {}) {
  const peer = await openRaw(t, server, options);
  await peer.connect(auth);
  const { args, id, at } = await peer.event('info');
  Object.assign(peer, { info: args[0], infoId: id, infoAt: at });
  return peer;
}

/** Waits until the server has closed the connection; gives the close code. */
export async function closeOf(peer, ms = SOON) {
  return (await within(ms, peer.closed, 'close by the server')).code;
}
