// Bare TCP: for half requests, half frames and everything else that no WebSocket library would send.

import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { Inbox, within } from './wait.mjs';

export class TcpPeer {
  #socket;
  #buffer = Buffer.alloc(0);
  #upgraded = false;

  /** Heads of HTTP responses. */
  responses = new Inbox();
  /** WebSocket frames of the server: `{opcode, rsv, payload}`. */
  frames = new Inbox();

  constructor(socket) {
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('data', (bytes) => this.#read(bytes));
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.isClosed = true;
        for (const inbox of [this.responses, this.frames]) inbox.close('the server closed the connection');
        resolve();
      });
    });
  }

  #read(bytes) {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    if (!this.#upgraded) {
      const end = this.#buffer.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = this.#buffer.subarray(0, end).toString();
      this.#buffer = this.#buffer.subarray(end + 4);
      this.#upgraded = / 101 /.test(head);
      this.responses.push(head);
    }
    for (let frame; this.#upgraded && (frame = parse(this.#buffer));) {
      this.#buffer = this.#buffer.subarray(frame.length);
      this.frames.push(frame);
    }
  }

  send(bytes) {
    this.#socket.write(bytes);
  }

  destroy() {
    this.#socket.destroy();
  }

  /** Asks for the WebSocket; gives the head of the response. */
  upgrade(server, headers = {}) {
    const lines = {
      Host: server.host,
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
      ...headers,
    };
    const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
    this.send(`GET ${server.basePath}/conat/?EIO=4&transport=websocket HTTP/1.1\r\n${head.join('')}\r\n`);
    return this.responses.next({ what: 'handshake response' });
  }

  /** Sends a text message. */
  sendText(text) {
    this.send(maskedFrame({ payload: Buffer.from(text) }));
  }

  /** The next text message that fits. */
  async text(pattern) {
    const where = ({ opcode, payload }) => opcode === 1 && pattern.test(payload.toString());
    return (await this.frames.next({ where, what: `text ${pattern}` })).payload.toString();
  }

  /** Upgrades, connects and waits for info. */
  async signIn(server) {
    await this.upgrade(server);
    await this.text(/^0\{/);
    this.sendText('40');
    await this.text(/^42\d*\["info"/);
  }
}

export async function dialTcp(t, server) {
  const socket = connect(server.port, '127.0.0.1');
  const peer = new TcpPeer(socket);
  t.after(() => peer.destroy());
  await within(10_000, new Promise((resolve) => socket.once('connect', resolve)), 'TCP connection');
  return peer;
}

/**
 * One frame as a client sends it. `length` is what the header claims, which may be another length than that of the
 * payload; the mask is all zeros.
 */
export function maskedFrame({ opcode = 1, fin = true, rsv = 0, payload = Buffer.alloc(0), length = payload.length }) {
  const first = (fin ? 0x80 : 0) | rsv | opcode;
  let header;
  if (length < 126) {
    header = Buffer.from([first, 0x80 | length]);
  } else if (length < 65_536) {
    header = Buffer.from([first, 0x80 | 126, 0, 0]);
    header.writeUInt16BE(length, 2);
  } else {
    header = Buffer.from([first, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 0]);
    header.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([header, Buffer.alloc(4), payload]);
}

/** The first frame of what a server sent, if it is there in full. */
function parse(buffer) {
  if (buffer.length < 2) return undefined;
  let [length, start] = [buffer[1], 2];
  if (length === 126) {
    if (buffer.length < 4) return undefined;
    [length, start] = [buffer.readUInt16BE(2), 4];
  } else if (length === 127) {
    if (buffer.length < 10) return undefined;
    [length, start] = [Number(buffer.readBigUInt64BE(2)), 10];
  }
  if (buffer.length < start + length) return undefined;
  const payload = Buffer.from(buffer.subarray(start, start + length));
  return { opcode: buffer[0] & 0x0f, rsv: buffer[0] & 0x70, payload, length: start + length };
}
