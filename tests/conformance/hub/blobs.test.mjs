// hub.md §18 E: blobs.

import assert from 'node:assert/strict';
import { randomBytes, randomUUID, createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PIECE, bodyOf, fieldsOf, form, pieces, post, raw } from '../../support/forms.mjs';
import { startServer } from '../../support/server.mjs';
import { until } from '../../support/wait.mjs';

const MIB = 1 << 20;
const LARGEST = 25_000_000;
const SERVICES = 'bus,hub';
const HELLO = '1074662c-1c63-499e-bb9e-b2617d3ad2c5';
const NOTHING = '00000000-0000-4000-8000-00000000dead';

/** hub.md §5.1, once more and on its own. */
function identifier(content) {
  const h = createHash('sha1').update(content).digest('hex');
  const y = ((parseInt(h[15], 16) & 3) | 8).toString(16);
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(12, 15)}-${y}${h.slice(16, 19)}-${h.slice(19, 31)}`;
}

async function upload(server, content, { query = '', ...options } = {}) {
  const answer = await post(server, `/blobs${query}`, form(content, options));
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('content-type'), /^application\/json/);
  return (await answer.json()).uuid;
}

describe('blobs', { concurrency: true }, () => {
  let server;
  const get = (name, uuid, options) => server.fetch(`/blobs/${name}?uuid=${uuid}`, options);
  before(async () => {
    server = await startServer(undefined, { services: SERVICES });
  });
  after(() => server?.stop());

  test('hub_043 an upload gives the identifier', async () => {
    const answer = await post(server, '/blobs?project_id=x', form('hello blob\n', { name: 'paste-0.42.png' }));
    assert.equal(answer.status, 200);
    assert.equal(await answer.text(), `{"uuid":"${HELLO}"}`);
  });

  test('hub_044 identifiers of the table, and of any content', async () => {
    assert.equal(await upload(server, 'a'), '86f7e437-faa5-4a7f-8e15-d1ddcb9eaeae');
    assert.equal(await upload(server, 'CoCalc\n'), '5afbb97e-6ae3-489a-99ec-247c09f2d6f7');
    const png = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    assert.equal(await upload(server, png), '4caece53-9b03-49b1-ae16-206ea2478f8c');
    for (const size of [1, 255, 256, 65_535, 65_536, 600_000, 3_000_000]) {
      const content = randomBytes(size);
      const uuid = await upload(server, content);
      assert.equal(uuid, identifier(content));
      assert.ok(Buffer.from(await (await get('x', uuid)).arrayBuffer()).equals(content), `${size}`);
    }
  });

  test('hub_045 the same content has the same identifier', async () => {
    assert.equal(await upload(server, 'twice', { name: 'a.png' }), await upload(server, 'twice', { name: 'b.gif' }));
  });

  test('hub_046 a form without a file, and no form, are refused in words', async () => {
    const bodies = [form('x', { part: 'other' }), 'text', undefined, form('')];
    for (const body of bodies) {
      const answer = await post(server, '/blobs', body);
      assert.equal(answer.status, 400);
      assert.match(answer.headers.get('content-type'), /^text\/plain/);
      assert.match(await answer.text(), /file/);
    }
    for (const ttl of ['x', '0', '-1']) assert.equal((await post(server, `/blobs?ttl=${ttl}`, form('x'))).status, 400);
  });

  test('hub_047 25 000 000 bytes are taken, one more is not', async () => {
    const content = randomBytes(LARGEST + 1);
    const exact = content.subarray(0, LARGEST);
    const uuid = await upload(server, exact);
    assert.equal(uuid, identifier(exact));
    const answer = await get('x.bin', uuid, { signal: AbortSignal.timeout(60_000) });
    assert.ok(Buffer.from(await answer.arrayBuffer()).equals(exact));
    const more = await post(server, '/blobs', form(content));
    assert.equal(more.status, 413);
    assert.match(more.headers.get('content-type'), /^text\/plain/);
    assert.equal((await get('x.bin', identifier(content))).status, 404);
  });

  test('hub_048 a download has its tag and may be kept', async () => {
    const uuid = await upload(server, 'forty-eight');
    const answer = await get('a.png', uuid);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('etag'), uuid);
    assert.equal(answer.headers.get('cache-control'), 'public, max-age=31536000');
    assert.equal(answer.headers.get('content-length'), '11');
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(await answer.text(), 'forty-eight');
    const head = await get('a.png', uuid, { method: 'HEAD' });
    assert.equal(head.headers.get('content-length'), '11');
    assert.equal(await head.text(), '');
  });

  test('hub_048 a range gives 206', async () => {
    for (const size of [1000, 900_000]) {
      const content = randomBytes(size);
      const uuid = await upload(server, content);
      const answer = await get('a.bin', uuid, { headers: { range: 'bytes=500-', 'if-range': uuid } });
      assert.equal(answer.status, 206);
      assert.equal(answer.headers.get('content-range'), `bytes 500-${size - 1}/${size}`);
      assert.ok(Buffer.from(await answer.arrayBuffer()).equals(content.subarray(500)));
    }
  });

  test('hub_049 what the client has is not sent again, and not even looked for', async () => {
    for (const uuid of [await upload(server, 'forty-nine'), NOTHING]) {
      for (const tag of [uuid, `"${uuid}"`, `W/"${uuid}"`, `"x", "${uuid}"`]) {
        const answer = await get('a.png', uuid, { headers: { 'if-none-match': tag } });
        assert.equal(answer.status, 304, tag);
        assert.equal(answer.headers.get('etag'), uuid);
        assert.equal(await answer.text(), '');
      }
      const other = await get('a.png', uuid, { headers: { 'if-none-match': '"x"' } });
      assert.equal(other.status, uuid === NOTHING ? 404 : 200);
    }
    assert.equal((await get('a.png', NOTHING, { headers: { 'if-none-match': '*' } })).status, 404);
  });

  test('hub_050 the name tells the type and nothing else', async () => {
    const uuid = await upload(server, 'fifty');
    for (const [name, type] of [
      ['x.png', 'image/png'],
      ['x.JPG', 'image/jpeg'],
      ['a/b/x.gif', 'image/gif'],
      ['x', 'application/octet-stream'],
      ['x.unknown', 'application/octet-stream'],
    ]) {
      const answer = await get(name, uuid);
      assert.equal(answer.headers.get('content-type'), type, name);
      assert.equal(await answer.text(), 'fifty');
    }
  });

  test('hub_051 download makes it an attachment with a decoded name', async () => {
    const uuid = await upload(server, 'fifty-one');
    assert.equal((await get('a%20b.png', uuid)).headers.get('content-disposition'), null);
    for (const query of ['&download', '&download=', '&download=1']) {
      const answer = await get('a%20%E9%9B%AA.png', uuid + query);
      assert.equal(answer.headers.get('content-disposition'), "attachment; filename*=UTF-8''a%20%E9%9B%AA.png");
    }
  });

  test('hub_052 what is unknown gives 404 and is not repeated', async () => {
    for (const query of [
      `?uuid=${NOTHING}`,
      '?uuid=%3Cscript%3Ealert(1)%3C/script%3E',
      '?uuid=..%2F..%2Fetc',
      '',
      '?uuid=',
    ]) {
      const answer = await server.fetch(`/blobs/x.png${query}`);
      assert.equal(answer.status, 404);
      assert.match(answer.headers.get('content-type'), /^text\/plain/);
      assert.equal(await answer.text(), 'there is no such blob\n');
    }
    for (const path of ['/blobs', '/blobs/']) assert.equal((await server.fetch(path)).status, 404);
  });

  test('hub_053 a blob with a ttl goes', async () => {
    const uuid = await upload(server, 'short-lived', { query: '?ttl=5000' });
    assert.equal((await get('x', uuid)).status, 200);
    await until(async () => (await get('x', uuid)).status === 404, 'end of the blob');
    // Others stay.
    const stays = await upload(server, 'stays');
    await upload(server, 'stays', { query: '?ttl=1000' });
    const goes = await upload(server, 'goes', { query: '?ttl=1000' });
    await until(async () => (await get('x', goes)).status === 404, 'end of the other');
    assert.equal((await get('x', stays)).status, 200);
  });

  test('hub_055 what could run is an attachment and inert', async () => {
    const uuid = await upload(server, '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>');
    for (const name of [
      'x.svg',
      'x.html',
      'x.SVG',
      'x.xhtml',
      'x.xml',
      'x.pdf',
      'x.js',
      'x.txt',
      'x',
      'x.svg%00.png%2Fx.svg',
    ]) {
      const answer = await get(name, uuid);
      assert.equal(answer.status, 200, name);
      assert.match(answer.headers.get('content-disposition'), /^attachment;/, name);
      assert.match(answer.headers.get('content-security-policy'), /default-src 'none'.*sandbox$/, name);
    }
  });

  test('hub_056 a file in three pieces is one blob', async () => {
    const content = randomBytes(20_000_000);
    const answers = [];
    for (const piece of pieces(content.length, (a, b) => content.subarray(a, b), { name: 'big.png' })) {
      const answer = await post(server, '/blobs', piece);
      assert.equal(answer.status, 200);
      answers.push(await answer.json());
    }
    assert.equal(answers.length, 3);
    assert.deepEqual(
      answers.map(({ uuid }) => uuid),
      [undefined, undefined, identifier(content)],
    );
    const whole = await get('big.png', answers[2].uuid, { signal: AbortSignal.timeout(60_000) });
    assert.ok(Buffer.from(await whole.arrayBuffer()).equals(content));
    assert.deepEqual(await readdir(join(server.data, 'spool')), []);
  });

  test('hub_056 pieces again, out of order, and too many of them', async () => {
    const dzuuid = randomUUID();
    const content = randomBytes(3000);
    const forms = () => [...pieces(3000, (a, b) => content.subarray(a, b), { piece: 1000, dzuuid })];
    const send = async (index) => (await post(server, '/blobs', forms()[index])).status;
    assert.deepEqual(
      [await send(1), await send(0), await send(2), await send(0), await send(1)],
      [409, 200, 409, 200, 200],
    );
    for (const time of ['first', 'second']) {
      const last = await post(server, '/blobs', forms()[2]);
      assert.deepEqual(await last.json(), { uuid: identifier(content) }, time);
    }
    const large = randomUUID();
    const block = Buffer.alloc(PIECE);
    const statuses = [];
    for (let index = 0; index < 4; index++) {
      statuses.push((await post(server, '/blobs', form(block, { fields: fieldsOf(large, index, 4) }))).status);
    }
    assert.deepEqual(statuses, [200, 200, 200, 413]);
  });

  test('hub_043 a page of another origin may not upload', async () => {
    const answer = await post(server, '/blobs', form('x'), { headers: { origin: 'http://evil.example' } });
    assert.equal(answer.status, 403);
  });
});

test('hub_054 a blob survives a restart and a crash', async (t) => {
  const server = await startServer(t, { services: SERVICES });
  const uuid = await upload(server, 'hello blob\n');
  assert.equal(uuid, HELLO);
  await server.kill('SIGTERM');
  await server.restart();
  assert.equal(await (await server.fetch(`/blobs/x.txt?uuid=${uuid}`)).text(), 'hello blob\n');
  const other = await upload(server, 'other');
  await server.kill('SIGKILL');
  await server.restart();
  assert.equal(await (await server.fetch(`/blobs/x.txt?uuid=${other}`)).text(), 'other');
});

test('hub_047 many large blobs at once do not fill the memory', async (t) => {
  const server = await startServer(t, { services: SERVICES });
  const size = 20_000_000;
  const first = await upload(server, randomBytes(size));
  const before = await server.peakRss();
  await Promise.all(
    Array.from({ length: 12 }, async () => {
      const content = randomBytes(size);
      assert.equal(await upload(server, content), identifier(content));
    }),
  );
  // Whoever takes nothing does not keep others from getting theirs.
  const stalled = await Promise.all(Array.from({ length: 12 }, () => raw(server, `/blobs/x?uuid=${first}`)));
  const other = await bodyOf(await raw(server, `/blobs/x?uuid=${first}`, { headers: { range: 'bytes=1000000-' } }));
  assert.equal(other.length, size - 1_000_000);
  for (const answer of stalled) assert.equal(identifier(await bodyOf(answer)), first);
  const grown = (await server.peakRss()) - before;
  assert.ok(grown < 128 * MIB, `memory grew by ${grown}`);
});

test('hub_010 without the cookie there are no blobs', async (t) => {
  const server = await startServer(t, { policy: 'lite', services: SERVICES, env: { AUTH_TOKEN: 'a-long-token' } });
  const refused = await post(server, '/blobs', form('x'));
  assert.equal(refused.status, 401);
  assert.match(refused.headers.get('content-type'), /^text\/html/);
  assert.equal((await server.fetch(`/blobs/x?uuid=${HELLO}`)).status, 401);
});
