import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Client } from './client';
import type { BusError } from './error';
import type { Message } from './message';
import { call } from './service';
import { TestBroker } from './testing/broker';

let broker: TestBroker;
let clients: Client[];

beforeEach(() => {
  vi.useFakeTimers();
  broker = new TestBroker();
  clients = [];
});

afterEach(() => {
  for (const client of clients) client.close();
  vi.useRealTimers();
});

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

async function connect(): Promise<Client> {
  const client = new Client({ url: 'ws://test', open: broker.open });
  clients.push(client);
  client.open();
  await client.connected();
  await settle(2000);
  return client;
}

const codeOf = (error: unknown) => (error as BusError).code;

describe('sign-in', () => {
  test('acknowledges info without arguments and subscribes once to its inbox', async () => {
    const client = await connect();
    expect(broker.connections[0]?.texts).toContain('430[]');
    expect(broker.live[0]?.patterns.has(`${client.inbox}.*`)).toBe(true);
    expect(client.inbox).toMatch(/^_INBOX\.account-acc\.[2-9A-Z]{10}$/u);
  });

  test.each([
    [null, '_INBOX.'],
    [{ project_id: 'p' }, '_INBOX.project-p.'],
    [{ hub_id: 'hub' }, '_INBOX.hub-hub.'],
  ])('the inbox of %j is below %s', async (user, prefix) => {
    broker.info = { id: '0', max_payload: 1, user };
    expect((await connect()).inbox.startsWith(prefix)).toBe(true);
  });

  test('a repeated info is acknowledged again and changes nothing', async () => {
    const client = await connect();
    const { inbox } = client;
    broker.connections[0]?.emit('info', broker.info, true);
    await settle();
    expect(broker.connections[0]?.texts).toContain('431[]');
    expect(client.inbox).toBe(inbox);
    expect(client.state.phase).toBe('connected');
  });

  test('a refused sign-in ends in signed-out, without another try', async () => {
    broker.info = { id: '0', max_payload: 1, user: { error: 'no cookie', code: 401 } };
    const client = new Client({ url: 'ws://test', open: broker.open });
    clients.push(client);
    const refused = expect(client.connected()).rejects.toMatchObject({ message: 'no cookie', code: 401 });
    client.open();
    await settle(60_000);
    await refused;
    expect(client.state).toEqual({ phase: 'signed-out', error: 'no cookie', code: 401 });
    expect(broker.connections).toHaveLength(1);
    broker.info = { id: '0', max_payload: 1, user: { account_id: 'acc' } };
    client.retryNow();
    await client.connected();
  });
});

describe('publish and subscribe', () => {
  test('delivers to every subscriber, and counts', async () => {
    const client = await connect();
    const heard: unknown[] = [];
    client.subscribe('a.*', ({ data, subject, headers }) => heard.push([subject, data, headers]));
    await settle();
    expect(await client.publish('a.b', { x: 1 }, { headers: { h: 'v' } })).toBe(1);
    expect(heard).toEqual([['a.b', { x: 1 }, { h: 'v' }]]);
    expect(await client.publish('nobody', 1)).toBe(0);
  });

  test('two local subscriptions share one on the wire', async () => {
    const client = await connect();
    let heard = 0;
    const first = client.subscribe('a', () => heard++);
    const second = client.subscribe('a', () => heard++);
    await first.ready;
    await client.publish('a', 1);
    expect(heard).toBe(2);
    first.close();
    await client.publish('a', 1);
    expect(heard).toBe(3);
    second.close();
    await settle();
    expect(
      broker.sent.filter(({ name, argument }) => name === 'subscribe' && JSON.stringify(argument).includes('"a"')),
    ).toHaveLength(1);
    expect(broker.events('unsubscribe')).toEqual([{ subject: 'a' }]);
  });

  test('another queue for the same pattern is refused here', async () => {
    const client = await connect();
    client.subscribe('a', () => undefined, 'q');
    expect(() => client.subscribe('a', () => undefined, 'r')).toThrow(/another queue/u);
    expect(() => client.subscribe('a', () => undefined)).not.toThrow();
  });

  test('a refused subscription rejects with the server’s code', async () => {
    const client = await connect();
    broker.refuse = (_, subject) =>
      subject === 'secret' ? { error: 'Error: permission denied', code: 403 } : undefined;
    await expect(client.subscribe('secret', () => undefined).ready).rejects.toMatchObject({ code: 403 });
  });

  test('a refused publish is remembered for a minute', async () => {
    const client = await connect();
    broker.refuse = (event) => (event === 'publish' ? { error: 'Error: permission denied', code: 403 } : undefined);
    expect(codeOf(await client.publish('x', 1).catch((error: unknown) => error))).toBe(403);
    await settle();
    const before = broker.events('publish').length;
    expect(codeOf(await client.publish('x', 1).catch((error: unknown) => error))).toBe(403);
    expect(broker.events('publish')).toHaveLength(before);
    broker.refuse = () => undefined;
    await settle(61_000);
    expect(await client.publish('x', 1)).toBe(0);
  });

  test.each(['a.*', 'a b', '', '>'])('%j cannot be published to', async (subject) => {
    const client = await connect();
    await expect(client.publish(subject, 1)).rejects.toThrow(/invalid subject/u);
  });

  test('chunks follow max_payload, and arrive whole', async () => {
    broker.info = { ...broker.info, max_payload: 50_000 };
    const client = await connect();
    const heard: Message[] = [];
    client.subscribe('big', (message) => heard.push(message));
    await settle();
    expect(await client.publish('big', 'x'.repeat(3500), { headers: { h: 1 } })).toBe(1);
    const frames = broker.events('publish') as unknown[][];
    expect(frames.map((frame) => [frame[2], frame[3], (frame[5] as Uint8Array).length, frame[6]])).toEqual([
      [0, 0, 1000, undefined],
      [1, 0, 1000, undefined],
      [2, 0, 1000, undefined],
      [3, 1, 503, { h: 1 }],
    ]);
    expect(heard[0]?.data).toBe('x'.repeat(3500));
  });

  test('with waitForInterest, a subscriber that comes later is waited for', async () => {
    const client = await connect();
    const count = client.publish('later', 1, { waitForInterest: true });
    await settle(3000);
    const other = await connect();
    other.subscribe('later', () => undefined);
    await settle();
    expect(await count).toBe(1);
  });
});

describe('requests', () => {
  test('wait for an inbox that is refused no longer than they may take', async () => {
    broker.refuse = (event, subject) =>
      event === 'subscribe' && subject.startsWith('_INBOX') ? { error: 'Error: limit', code: 429 } : undefined;
    const client = await connect();
    const failure = client.request('svc', 1, { timeoutMs: 500 }).catch((error: unknown) => error);
    await settle(500);
    expect(codeOf(await failure)).toBe(408);
    broker.refuse = () => undefined;
    client.subscribe('svc', (message) => client.respond(message, 'ok'));
    const answer = client.request('svc', 1);
    await settle(5000);
    expect((await answer).data).toBe('ok');
  });

  const serve = (client: Client, subject: string, answer: (message: Message) => void) => {
    client.subscribe(subject, answer, '0');
  };

  test('get the first response', async () => {
    const [server, client] = [await connect(), await connect()];
    serve(server, 'arith.*', (message) => {
      const [method, [a, b]] = message.data as [string, [number, number]];
      server.respond(message, method === 'mul' ? a * b : null);
    });
    await settle();
    expect(await call(client, 'arith.one', 'mul', [2, 3])).toBe(6);
    const [frame] = broker.events('publish') as [unknown[]];
    expect(frame[6]).toEqual({ 'CN-Reply': expect.stringMatching(`^${client.inbox}.`) as string });
  });

  test('fail with 503 when nobody listens', async () => {
    const client = await connect();
    expect(codeOf(await client.request('nobody', 1).catch((error: unknown) => error))).toBe(503);
  });

  test('fail with 408 when nobody answers', async () => {
    const client = await connect();
    serve(client, 'silent', () => undefined);
    await settle();
    const failure = client.request('silent', 1, { timeoutMs: 500 }).catch((error: unknown) => error);
    await settle(500);
    expect(codeOf(await failure)).toBe(408);
  });

  test('raise the error in a response, with its attributes', async () => {
    const client = await connect();
    serve(client, 'bad', (message) =>
      client.respond(message, null, { error: 'ENOENT: no such file', error_attrs: { code: 'ENOENT', path: 'x' } }),
    );
    serve(client, 'coded', (message) => client.respond(message, null, { error: 'gone', error_attrs: {}, code: 404 }));
    await settle();
    await expect(client.request('bad', 1)).rejects.toMatchObject({ code: 'ENOENT', attributes: { path: 'x' } });
    await expect(client.request('coded', 1)).rejects.toMatchObject({ message: 'gone', code: 404 });
  });

  test('for many responses yield them in order until there are enough, or none comes', async () => {
    const client = await connect();
    serve(client, 'many', (message) => [1, 2, 3].forEach((n) => client.respond(message, n)));
    await settle();
    const collect = async (options: object) => {
      const found: unknown[] = [];
      for await (const { data } of client.requestMany('many', null, options)) found.push(data);
      return found;
    };
    expect(await collect({ maxMessages: 2 })).toEqual([1, 2]);
    const all = collect({ maxWaitMs: 100 });
    await settle(200);
    expect(await all).toEqual([1, 2, 3]);
    await expect(client.requestMany('nobody', null).next()).rejects.toMatchObject({ code: 503 });
  });
});

describe('after a reconnect', () => {
  test('subscriptions and requests work as before, under the same inbox', async () => {
    const [server, client] = [await connect(), await connect()];
    server.subscribe('svc', (message) => server.respond(message, 'ok'), '0');
    await settle();
    const { inbox } = client;
    broker.cut();
    await settle(3000);
    expect(client.inbox).toBe(inbox);
    expect((await client.request('svc', null)).data).toBe('ok');
  });

  test('asks what the server has, adds what is missing in one go, removes what is too much, and looks again', async () => {
    const client = await connect();
    client.subscribe('a', () => undefined);
    client.subscribe('b', () => undefined);
    await settle();
    broker.cut();
    broker.sent.length = 0;
    client.retryNow();
    // A fresh session is empty at the server; this one has something nobody wants.
    broker.live[0]?.patterns.set('stray', 'q');
    await settle(3000);
    expect(broker.sent[0]?.name).toBe('subscriptions');
    const [added] = broker.events('subscribe') as { subject: string }[][];
    expect(added?.map(({ subject }) => subject)).toEqual([`${client.inbox}.*`, 'a', 'b']);
    expect(broker.events('unsubscribe')).toEqual([[{ subject: 'stray' }]]);
    expect(broker.events('subscriptions').length).toBeGreaterThan(1);
  });

  test('a queue that nobody chose gets a new name: the old connection may live on at the server', async () => {
    const client = await connect();
    client.subscribe('own', () => undefined);
    client.subscribe('shared', () => undefined, 'workers');
    await settle();
    const before = new Map(broker.live[0]?.patterns);
    broker.cut();
    await settle(3000);
    const after = broker.live[0]?.patterns;
    expect(after?.get('shared')).toBe('workers');
    expect(after?.get('own')).toEqual(expect.any(String));
    expect(after?.get('own')).not.toBe(before.get('own'));
    expect(after?.get(`${client.inbox}.*`)).not.toBe(before.get(`${client.inbox}.*`));
  });

  test('a subscription the server no longer allows is closed and doesn’t stop the others', async () => {
    const client = await connect();
    client.subscribe('a', () => undefined);
    let heard = 0;
    client.subscribe('b', () => heard++);
    await settle();
    broker.refuse = (event, subject) =>
      event === 'subscribe' && subject === 'a' ? { error: 'no', code: 403 } : undefined;
    broker.cut();
    await settle(5000);
    await client.publish('b', 1);
    expect(heard).toBe(1);
    expect(broker.live[0]?.patterns.has('a')).toBe(false);
  });

  test('a dead connection is found by verify, within seconds', async () => {
    const client = await connect();
    const [connection] = broker.live;
    // The network swallows everything from here on.
    if (connection) connection.transport.send = () => undefined;
    void client.verify();
    await settle(5000);
    expect(client.state.phase).not.toBe('connected');
  });
});

test('tells the server what it received, when that changed', async () => {
  broker.handshake = { pingInterval: 1_000_000, pingTimeout: 1_000_000 };
  const client = await connect();
  client.subscribe('a', () => undefined);
  await settle();
  await client.publish('a', 'abc');
  await settle(46_000);
  expect(broker.events('stats').at(-1)).toEqual({ recv0: { messages: 1, bytes: 4 } });
  const before = broker.events('stats').length;
  await settle(100_000);
  expect(broker.events('stats')).toHaveLength(before);
});
