// A network between browser and server that a test can break.

import { createServer, connect } from 'node:net';
import { once } from 'node:events';

/** Passes TCP connections on to a port, until it is told not to. */
export class Proxy {
  #pairs = new Set();
  #refusing = false;
  #frozen = false;
  #stillborn = [];

  /** Starts one; it ends with the test. */
  static async start(t, port) {
    const proxy = new Proxy();
    proxy.server = createServer((client) => proxy.#accept(client, port));
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    proxy.port = proxy.server.address().port;
    proxy.url = `http://127.0.0.1:${proxy.port}`;
    t.after(() => {
      proxy.cut();
      proxy.server.close();
    });
    return proxy;
  }

  /** Ends every connection and refuses new ones. */
  cut() {
    this.#refusing = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  /** Nothing gets through any more, and nobody is told: a pulled cable. */
  freeze() {
    this.#frozen = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  /**
   * Works again. What was open when it froze stays dead without a word, as it does behind a router that has forgotten
   * it; what was tried meanwhile is refused now.
   */
  mend() {
    this.#refusing = false;
    this.#frozen = false;
    for (const socket of this.#stillborn.splice(0)) socket.destroy();
  }

  #accept(client, port) {
    if (this.#refusing) {
      client.destroy();
      return;
    }
    if (this.#frozen) {
      this.#stillborn.push(client.pause());
      client.on('error', () => {});
      return;
    }
    const upstream = connect(port, '127.0.0.1');
    const pair = [client, upstream];
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const [from, to] of [pair, [upstream, client]]) {
      from.setNoDelay(true);
      from.on('data', (data) => {
        if (!this.#frozen) to.write(data);
      });
      from.on('error', end);
      from.on('close', end);
    }
  }
}
