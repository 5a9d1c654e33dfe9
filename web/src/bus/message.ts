import { decode as unpack, encode as pack } from '@msgpack/msgpack';

/** The headers that travel with a message. */
export type Headers = Record<string, unknown>;

/** Payload encodings. */
export const MESSAGE_PACK = 0;
/** See {@link MESSAGE_PACK}. */
export const JSON_TEXT = 1;

/** Encodes a value the way every peer does: MessagePack, fields without a value left out. */
export function encodePayload(value: unknown): Uint8Array<ArrayBuffer> {
  return pack(value, { ignoreUndefined: true });
}

/** Decodes a payload. */
export function decodePayload(encoding: number, raw: Uint8Array): unknown {
  switch (encoding) {
    case MESSAGE_PACK:
      return unpack(raw);
    case JSON_TEXT:
      return JSON.parse(new TextDecoder().decode(raw));
    default:
      throw new RangeError(`unknown encoding ${encoding}`);
  }
}

/** A whole message as a subscriber gets it. */
export class Message {
  #data: unknown;
  #decoded = false;

  constructor(
    readonly subject: string,
    readonly encoding: number,
    readonly raw: Uint8Array,
    readonly headers: Headers = {},
  ) {}

  /** The decoded payload. */
  get data(): unknown {
    if (!this.#decoded) {
      this.#data = decodePayload(this.encoding, this.raw);
      this.#decoded = true;
    }
    return this.#data;
  }

  /** The subject to answer to, when this message is a request. */
  get reply(): string | undefined {
    const reply = this.headers['CN-Reply'];
    return typeof reply === 'string' ? reply : undefined;
  }
}
