/**
 * Socket.IO v5 packets on the default namespace, as they follow the digit `4` of an Engine.IO message. A packet is a
 * text message and as many binary messages as it has attachments.
 */

/** One Socket.IO packet. */
export type Packet =
  | { type: 'connect'; data: unknown }
  | { type: 'disconnect' }
  | { type: 'event'; id?: number | undefined; args: unknown[] }
  | { type: 'ack'; id: number; args: unknown[] }
  | { type: 'connect_error'; message: string };

/** What is written for one packet: a text and its attachments, to be sent without anything in between. */
export interface Encoded {
  text: string;
  attachments: Uint8Array[];
}

/** The peer sent something that isn't a packet; the connection can't go on. */
export class ProtocolError extends Error {
  override name = 'ProtocolError';
}

/** More attachments than any packet has: a count beyond it is garbage, not a packet. */
const MAX_ATTACHMENTS = 1024;

interface Placeholder {
  _placeholder: true;
  num: number;
}

function isPlaceholder(value: object): value is Placeholder {
  return '_placeholder' in value && value._placeholder === true;
}

/** Replaces binary values by placeholders, depth first and left to right. */
function extract(value: unknown, attachments: Uint8Array[]): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (value instanceof Uint8Array) return { _placeholder: true, num: attachments.push(value) - 1 };
  if (Array.isArray(value)) return value.map((item) => extract(item, attachments));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, extract(item, attachments)]));
}

/** Puts the attachments back where their placeholders are. */
function restore(value: unknown, attachments: Uint8Array[]): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => restore(item, attachments));
  if (isPlaceholder(value)) {
    const attachment = attachments[value.num];
    if (!attachment) throw new ProtocolError('placeholder without attachment');
    return attachment;
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, restore(item, attachments)]));
}

/** Writes an event, or an acknowledgement when `kind` is `ack`. */
export function encode(kind: 'event' | 'ack', id: number | undefined, args: unknown[]): Encoded {
  const attachments: Uint8Array[] = [];
  const json = JSON.stringify(extract(args, attachments));
  const count = attachments.length;
  const digit = (kind === 'event' ? 2 : 3) + (count > 0 ? 3 : 0);
  return { text: `4${digit}${count > 0 ? `${count}-` : ''}${id ?? ''}${json}`, attachments };
}

/** Reads packets from the messages of one connection, in order. */
export class Decoder {
  #pending: { packet: Packet & { args: unknown[] }; count: number; attachments: Uint8Array[] } | undefined;

  /** Takes the text of a Socket.IO packet; returns it, or nothing while its attachments are still to come. */
  text(text: string): Packet | undefined {
    if (this.#pending) throw new ProtocolError('text inside a group of attachments');
    const match = /^([0-6])(?:(\d+)-)?(?:(\/[^,]*),)?(\d+)?(.*)$/su.exec(text);
    if (!match) throw new ProtocolError('not a packet');
    const [, digit, countText, namespace, idText, json] = match;
    if (namespace !== undefined && namespace !== '/') return undefined;
    const type = Number(digit);
    const data = parse(json);
    const id = idText === undefined ? undefined : Number(idText);
    if (type === 0) return { type: 'connect', data };
    if (type === 1) return { type: 'disconnect' };
    if (type === 4) return { type: 'connect_error', message: errorText(data) };
    if (!Array.isArray(data)) throw new ProtocolError('arguments are not an array');
    const packet = makePacket(type === 2 || type === 5, id, data);
    if (type < 5) return packet;
    const count = Number(countText ?? 0);
    if (count > MAX_ATTACHMENTS) throw new ProtocolError('too many attachments');
    if (count === 0) return packet;
    this.#pending = { packet, count, attachments: [] };
    return undefined;
  }

  /** Takes one attachment; returns the packet it completes, if it does. */
  binary(bytes: Uint8Array): Packet | undefined {
    const pending = this.#pending;
    if (!pending) throw new ProtocolError('binary message without a packet');
    pending.attachments.push(bytes);
    if (pending.attachments.length < pending.count) return undefined;
    this.#pending = undefined;
    pending.packet.args = pending.packet.args.map((arg) => restore(arg, pending.attachments));
    return pending.packet;
  }
}

function makePacket(isEvent: boolean, id: number | undefined, args: unknown[]): Packet & { args: unknown[] } {
  if (isEvent) {
    if (typeof args[0] !== 'string') throw new ProtocolError('event without a name');
    return { type: 'event', id, args };
  }
  if (id === undefined) throw new ProtocolError('acknowledgement without an id');
  return { type: 'ack', id, args };
}

function parse(json: string | undefined): unknown {
  if (!json) return undefined;
  try {
    return JSON.parse(json);
  } catch {
    throw new ProtocolError('malformed JSON');
  }
}

function errorText(data: unknown): string {
  if (typeof data === 'object' && data !== null && 'message' in data) return String(data.message);
  return 'refused';
}
