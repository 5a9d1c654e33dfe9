import type { Transport } from '../connection';
import { Decoder, encode, type Packet } from '../codec';
import { matches } from '../subject';

/** What an attachment-carrying packet looked like when it left a client. */
export interface SentEvent {
  name: string;
  argument: unknown;
  id: number | undefined;
}

/**
 * A broker in memory for tests: it routes between the clients that were given its `open`, and lets a test look at,
 * lose and refuse what they send. It is deliberately independent of timers.
 */
export class TestBroker {
  readonly connections: TestConnection[] = [];
  /** Everything clients have sent, in order. */
  readonly sent: SentEvent[] = [];
  info: Record<string, unknown> = { id: '0', max_payload: 8_000_000, user: { account_id: 'acc' } };
  handshake = { pingInterval: 25_000, pingTimeout: 20_000 };
  /** Does the server accept connections? */
  accepting = true;
  /** Answers a publish or subscription instead of the broker, when it returns something. */
  refuse: (event: string, subject: string) => Record<string, unknown> | undefined = () => undefined;
  /** Sees each publish on its way; `false` loses it, `2` delivers it twice. */
  transit: (subject: string, headers: Record<string, unknown>) => boolean | 2 = () => true;
  #waits: { subject: string; answer: () => void }[] = [];

  /** Given to a client as its `open`. */
  readonly open = (): Transport => {
    const connection = new TestConnection(this);
    this.connections.push(connection);
    return connection.transport;
  };

  /** The connections that are up. */
  get live(): TestConnection[] {
    return this.connections.filter(({ alive }) => alive);
  }

  /** Drops every connection as a network does: without a word. */
  cut(): void {
    for (const connection of this.live) connection.drop();
  }

  /** The events of one name that clients have sent. */
  events(name: string): unknown[] {
    return this.sent.filter((event) => event.name === name).map(({ argument }) => argument);
  }

  route(frame: unknown[]): number {
    const [subject, id, seq, done, encoding, raw, headers] = frame as [string, ...unknown[]];
    const times = Number(this.transit(subject, (headers ?? {}) as Record<string, unknown>));
    let count = 0;
    for (const connection of this.live) {
      for (const pattern of connection.patterns.keys()) {
        if (!matches(pattern, subject)) continue;
        count++;
        const data = [id, seq, done, encoding, raw, ...(headers ? [headers] : [])];
        for (let copy = 0; copy < times; copy++) connection.emit(pattern, { subject, data });
      }
    }
    return count;
  }

  interest(subject: string): boolean {
    return this.live.some(({ patterns }) => [...patterns.keys()].some((pattern) => matches(pattern, subject)));
  }

  wait(subject: string, answer: () => void): void {
    this.#waits.push({ subject, answer });
  }

  interestChanged(): void {
    const due = this.#waits.filter(({ subject }) => this.interest(subject));
    this.#waits = this.#waits.filter((wait) => !due.includes(wait));
    for (const { answer } of due) answer();
  }
}

/** One client's connection, seen from the broker. */
export class TestConnection {
  alive = true;
  /** Raw text messages the client sent. */
  readonly texts: string[] = [];
  readonly patterns = new Map<string, string>();
  readonly transport: Transport;
  readonly #decoder = new Decoder();
  #nextId = 0;

  constructor(private readonly broker: TestBroker) {
    this.transport = {
      binaryType: 'arraybuffer',
      onmessage: null,
      onclose: null,
      send: (data) => this.#received(data),
      close: () => {
        this.alive = false;
        this.patterns.clear();
      },
    };
    queueMicrotask(() => {
      if (!broker.accepting) this.drop();
      else this.text(`0${JSON.stringify({ sid: 'engine', upgrades: [], maxPayload: 8_000_000, ...broker.handshake })}`);
    });
  }

  /** Sends the client a raw text message. */
  text(data: string): void {
    if (this.alive) this.transport.onmessage?.({ data });
  }

  /** Sends the client an event. */
  emit(name: string, argument: unknown, wantsAck = false): void {
    this.#packet('event', wantsAck ? this.#nextId++ : undefined, [name, argument]);
  }

  /** The connection is gone. */
  drop(code = 1006): void {
    if (!this.alive) return;
    this.alive = false;
    this.patterns.clear();
    this.transport.onclose?.({ code });
  }

  #packet(kind: 'event' | 'ack', id: number | undefined, args: unknown[]): void {
    const { text, attachments } = encode(kind, id, args);
    queueMicrotask(() => {
      this.text(text);
      for (const attachment of attachments) {
        if (this.alive) this.transport.onmessage?.({ data: attachment.slice().buffer });
      }
    });
  }

  #received(data: string | Uint8Array): void {
    if (!this.alive) return;
    if (typeof data !== 'string') {
      this.#handle(this.#decoder.binary(data));
      return;
    }
    this.texts.push(data);
    if (data.startsWith('40')) {
      this.text(`40${JSON.stringify({ sid: `sid${this.broker.connections.indexOf(this)}` })}`);
      this.emit('info', this.broker.info, true);
    } else if (data.startsWith('4')) {
      this.#handle(this.#decoder.text(data.slice(1)));
    }
  }

  #handle(packet: Packet | undefined): void {
    if (packet?.type === 'disconnect') this.drop(1005);
    if (packet?.type !== 'event') return;
    const [name, argument] = packet.args as [string, unknown];
    this.broker.sent.push({ name, argument, id: packet.id });
    const { id } = packet;
    const acknowledge = (value: unknown) => {
      if (id !== undefined && this.alive) this.#packet('ack', id, [value]);
    };
    switch (name) {
      case 'subscribe':
        acknowledge(each(argument, (one) => this.#subscribe(one)));
        this.broker.interestChanged();
        return;
      case 'unsubscribe':
        acknowledge(each(argument, ({ subject }) => (this.patterns.delete(subject), null)));
        return;
      case 'subscriptions':
        acknowledge([...this.patterns.keys()]);
        return;
      case 'publish':
        acknowledge(this.#publish(argument as unknown[]));
        return;
      case 'wait-for-interest':
        this.#wait(argument as { subject: string; timeout: number }, acknowledge);
        return;
      default:
    }
  }

  #subscribe({ subject, queue }: { subject: string; queue?: string }): unknown {
    const refusal = this.broker.refuse('subscribe', subject);
    if (refusal) return refusal;
    if (this.patterns.has(subject)) return { status: 'already-added' };
    this.patterns.set(subject, queue ?? '');
    return { status: 'added' };
  }

  #publish(frame: unknown[]): unknown {
    const refusal = this.broker.refuse('publish', frame[0] as string);
    if (!refusal) return { count: this.broker.route(frame) };
    this.emit('permission', { message: refusal.error, subject: frame[0], type: 'pub' });
    return refusal;
  }

  #wait({ subject, timeout }: { subject: string; timeout: number }, acknowledge: (value: unknown) => void): void {
    if (this.broker.interest(subject)) acknowledge(true);
    else if (timeout === 0) acknowledge(false);
    else this.broker.wait(subject, () => acknowledge(true));
  }
}

type SubscribeArgument = { subject: string; queue?: string };

function each(argument: unknown, act: (one: SubscribeArgument) => unknown): unknown {
  return Array.isArray(argument) ? (argument as SubscribeArgument[]).map(act) : act(argument as SubscribeArgument);
}
