// kill −9 and a new process on the same port: stock clients find their way back by themselves.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, methods, valueOf } from '../support/client.mjs';
import { startServer } from '../support/server.mjs';
import { until } from '../support/wait.mjs';

describe('restart', () => {
  test('clients reconnect after kill −9, subscribe again and go on', async (t) => {
    const server = await startServer(t);
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect(t, server, { reconnection: true })));
    const [publisher, service, ...subscribers] = clients;
    const inboxes = await Promise.all(subscribers.map((client) => client.subscribe('news.*')));
    await service.serve('sum', methods({ add: (a, b) => a + b }));
    await publisher.openInbox();
    for (const client of clients) resubscribeOnInfo(client);
    assert.equal(await publisher.call('sum', 'add', 1, 2), 3);

    for (let round = 0; round < 3; round++) {
      const sids = clients.map(({ sid }) => sid);
      for (const client of clients) client.infos.drain();
      await server.kill('SIGKILL');
      await until(() => clients.every(({ socket }) => !socket.connected), 'everybody disconnected');
      await server.launch(server.port);
      await Promise.all(clients.map((client) => client.infos.next({ ms: 30_000 })));
      await until(
        async () => (await publisher.count('news.sync')) === subscribers.length,
        'everybody subscribed again',
      );
      inboxes.forEach((inbox) => inbox.drain());
      assert.equal((await publisher.publish('news.today', round)).count, subscribers.length);
      for (const inbox of inboxes) {
        const { subject, ...message } = await inbox.next({ where: (candidate) => candidate.subject === 'news.today' });
        assert.deepEqual([subject, valueOf(message)], ['news.today', round]);
      }
      await until(() => publisher.interest('sum'), 'the service');
      assert.equal(await publisher.call('sum', 'add', round, 2), round + 2);
      assert.equal(new Set([...sids, ...clients.map(({ sid }) => sid)]).size, 2 * clients.length, 'every sid is new');
    }
    assert.equal((await server.fetch('/healthz')).status, 200);
  });

  test('what was acknowledged before the kill is not repeated by the server after it', async (t) => {
    const server = await startServer(t);
    const client = await connect(t, server, { reconnection: true });
    const inbox = await client.subscribe('once');
    resubscribeOnInfo(client);
    assert.equal(await client.count('once'), 1);
    await inbox.next();
    client.infos.drain();
    await server.restart();
    await client.infos.next({ ms: 30_000 });
    await until(() => client.interest('once'), 'subscribed again');
    assert.equal(inbox.items.length, 0);
  });
});

/** What every client of the bus does after each info (§11): ask what is there and subscribe to what is missing. */
function resubscribeOnInfo(client) {
  client.socket.on('info', async () => {
    const present = await client.ask('subscriptions').catch(() => undefined);
    const missing = [...client.wanted].filter(([subject]) => !present?.includes(subject));
    const subscriptions = missing.map(([subject, queue]) => ({ subject, queue }));
    if (present) await client.ask('subscribe', subscriptions).catch(() => undefined);
  });
}
