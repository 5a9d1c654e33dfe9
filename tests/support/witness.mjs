// The innocent bystander of the fault tests: a stock client that is connected before the fault and has to be
// served during and after it.

import assert from 'node:assert/strict';
import { connect, randomId, valueOf } from './client.mjs';

export class Witness {
  #server;
  #client;
  #messages;
  #subject;

  /** `subject` is one that the client may use, where not everything is allowed. */
  static async of(t, server, { subject = 'witness', ...options } = {}) {
    const witness = new Witness();
    witness.#server = server;
    witness.#subject = `${subject}.${randomId()}`;
    witness.#client = await connect(t, server, options);
    witness.#client.socket.on('disconnect', (reason) => (witness.lost = reason));
    witness.#messages = await witness.#client.subscribe(witness.#subject);
    return witness;
  }

  get client() {
    return this.#client;
  }

  /** The server answers HTTP, routes messages, and this client was never cut off. */
  async assertServed() {
    assert.equal((await this.#server.fetch('/healthz')).status, 200);
    assert.equal(this.lost, undefined, 'the bystander was disconnected');
    const token = randomId();
    assert.equal((await this.#client.publish(this.#subject, token)).count, 1);
    assert.equal(valueOf(await this.#messages.next()), token);
  }
}
