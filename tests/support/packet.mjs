// Socket.IO packets as text and attachments, in both directions, without any Socket.IO library.

/** Engine.IO packet types. */
export const ENGINE = { open: '0', close: '1', ping: '2', pong: '3', message: '4' };

/** Socket.IO packet types. */
export const PACKET = { connect: 0, disconnect: 1, event: 2, ack: 3, connectError: 4, binaryEvent: 5, binaryAck: 6 };

/** Takes binary values out of a tree, depth first and left to right, and leaves placeholders. */
export function deconstruct(value, attachments = []) {
  if (value instanceof Uint8Array) {
    attachments.push(Buffer.from(value));
    return { _placeholder: true, num: attachments.length - 1 };
  }
  if (Array.isArray(value)) return value.map((item) => deconstruct(item, attachments));
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, deconstruct(item, attachments)]));
  }
  return value;
}

/** Puts attachments back where their placeholders are. */
export function reconstruct(value, attachments) {
  if (Array.isArray(value)) return value.map((item) => reconstruct(item, attachments));
  if (value && typeof value === 'object') {
    if (value._placeholder === true) return attachments[value.num];
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, reconstruct(item, attachments)]));
  }
  return value;
}

/** The WebSocket messages of one event or acknowledgement: a text and its attachments. */
export function encode(type, data, id) {
  const attachments = [];
  const json = JSON.stringify(deconstruct(data, attachments));
  const binary = attachments.length > 0;
  const digit = binary ? { [PACKET.event]: PACKET.binaryEvent, [PACKET.ack]: PACKET.binaryAck }[type] : type;
  return [`4${digit}${binary ? `${attachments.length}-` : ''}${id ?? ''}${json}`, ...attachments];
}

/** The parts of a Socket.IO packet, from the text that follows the Engine.IO digit 4. */
export function decode(text) {
  const [, type, count, namespace, id, json] = /^(\d)(?:(\d+)-)?(?:(\/[^,]*),)?(\d+)?(.*)$/s.exec(text);
  return {
    type: Number(type),
    count: Number(count ?? 0),
    namespace: namespace ?? '/',
    id: id === undefined ? undefined : Number(id),
    data: json === '' ? undefined : JSON.parse(json),
  };
}
