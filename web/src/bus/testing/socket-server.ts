import type { Client } from '../client';
import type { Message } from '../message';
import { ReceiveWindow } from '../receive-window';
import { SendWindow, type Held } from '../send-window';

const COMMAND = 'CN-SocketCmd';
const ATTEMPT = 'CN-SocketConnectAttempt';

/** The server's end of one virtual socket. */
export interface Peer {
  id: string;
  received: unknown[];
  window: SendWindow;
  request(data: unknown): Promise<Message>;
  close(): void;
}

/** A virtual socket server for tests, of the older or the newer revision. */
export class TestSocketServer {
  readonly peers = new Map<string, Peer>();
  /** Answers requests. */
  answer: (data: unknown, peer: Peer) => unknown = (data) => data;
  connected: (peer: Peer) => void = () => undefined;
  /** Is anything answered? */
  mute = false;
  readonly #subscriptions;
  readonly #receivers = new Map<string, ReceiveWindow>();

  constructor(
    private readonly client: Client,
    private readonly base: string,
    private readonly revision: 'A' | 'B',
    readonly id = `srv${revision}`,
  ) {
    this.#subscriptions = [
      client.subscribe(`${base}.server.status`, (message) => client.respond(message, { id: this.id })),
      client.subscribe(`${base}.server.${this.id}.*`, (message) => this.#received(message)),
    ];
  }

  /** Leaves without telling anybody. */
  stop(): void {
    for (const subscription of this.#subscriptions) subscription.close();
  }

  #received(message: Message): void {
    if (this.mute) return;
    const id = message.subject.split('.').at(-1) ?? '';
    const command = message.headers[COMMAND];
    const peer = this.peers.get(id);
    if (command === 'connect') this.#connect(id, message);
    else if (!peer) this.client.send(`${this.base}.client.${id}`, null, { [COMMAND]: 'close' });
    else if (command !== undefined) this.#command(command, peer, message);
    else if (message.reply) {
      Promise.resolve()
        .then(() => this.answer(message.data, peer))
        .then(
          (data) => this.client.respond(message, data),
          (error: unknown) => this.client.respond(message, null, { error: (error as Error).message }),
        );
    } else this.#receivers.get(id)?.push(message);
  }

  #connect(id: string, message: Message): void {
    let peer = this.peers.get(id);
    if (!peer) {
      peer = this.#makePeer(id);
      this.peers.set(id, peer);
      this.connected(peer);
    }
    peer.window.start();
    if (this.revision === 'A') this.client.respond(message, 'connected');
    else {
      const headers = { [COMMAND]: 'connected', [ATTEMPT]: message.headers[ATTEMPT], waitForClientInterestMs: 1 };
      this.client.send(`${this.base}.client.${id}`, null, headers);
    }
  }

  #makePeer(id: string): Peer {
    const subject = `${this.base}.client.${id}`;
    const headers = { [COMMAND]: 'socket' };
    const received: unknown[] = [];
    const close = () => {
      this.peers.delete(id);
      this.client.send(subject, null, { [COMMAND]: 'close' });
    };
    const window = new SendWindow(
      ({ encoding, raw, headers }) => this.client.sendRaw(subject, encoding, raw, headers),
      1000,
    );
    this.#receivers.set(
      id,
      new ReceiveWindow({
        deliver: ({ data }) => received.push(data),
        report: async (emitted) => {
          await this.client.request(subject, { socket: { emitted } }, { headers, timeoutMs: 1000 });
        },
        fetch: async (missing) => {
          const reply = await this.client.request(subject, { socket: { missing } }, { headers, timeoutMs: 1000 });
          return reply.data as Held[];
        },
        broken: close,
      }),
    );
    return { id, received, window, request: (data) => this.client.request(subject, data, { timeoutMs: 1000 }), close };
  }

  #command(command: unknown, peer: Peer, message: Message): void {
    if (command === 'ping') this.client.respond(message, null);
    if (command === 'close') {
      this.peers.delete(peer.id);
      this.client.respond(message, 'closed');
    }
    if (command !== 'socket') return;
    const { socket } = message.data as { socket: { emitted?: number; missing?: number[] } };
    if (socket.emitted !== undefined) {
      peer.window.acknowledge(socket.emitted);
      this.client.respond(message, { emitted: socket.emitted });
    } else {
      const held = peer.window.missing(socket.missing ?? []);
      if (held) this.client.respond(message, held);
      else this.client.respond(message, null, { error: 'nodata' });
    }
  }
}
