// hub.md §18 F: uploads into the project's files.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { chmod, mkdir, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PIECE, fieldsOf, form, pieces, post } from '../../support/forms.mjs';
import { PROJECT, startServer } from '../../support/server.mjs';
import { until } from '../../support/wait.mjs';

const MIB = 1 << 20;
const OK = '{"status":"ok"}';
const to = (folder) => `/upload?project_id=${PROJECT}&compute_server_id=0&path=${encodeURIComponent(folder)}`;

describe('uploads', { concurrency: true }, () => {
  let server;
  const inHome = (path) => join(server.home, path);
  const read = (path) => readFile(inHome(path), 'utf8');
  before(async () => {
    server = await startServer(undefined, { services: 'bus,files' });
  });
  after(() => server?.stop());

  test('hub_065 a form with one piece makes the file', async () => {
    const fields = { ...fieldsOf(randomUUID(), 0, 1), dztotalfilesize: 8 };
    const answer = await post(server, to('data/raw'), form('t,v\n0,1\n', { name: 'run 7.csv', fields }));
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get('content-type'), /^application\/json/);
    assert.equal(await answer.text(), OK);
    assert.equal(await read('data/raw/run 7.csv'), 't,v\n0,1\n');
    assert.deepEqual(await readdir(inHome('data/raw')), ['run 7.csv']);
  });

  test('hub_065 a form without any fields, into home, with a name of many letters', async () => {
    for (const name of ['plain.txt', 'ümläut 雪.txt', 'empty']) {
      const content = name === 'empty' ? '' : name;
      assert.equal((await post(server, '/upload', form(content, { name }))).status, 200);
      assert.equal(await read(name), content);
    }
  });

  test('hub_065 a file that is there is replaced and keeps its permissions', async () => {
    await writeFile(inHome('old.sh'), 'old');
    await chmod(inHome('old.sh'), 0o750);
    assert.equal((await post(server, to(''), form('new', { name: 'old.sh' }))).status, 200);
    assert.equal(await read('old.sh'), 'new');
    assert.equal((await stat(inHome('old.sh'))).mode & 0o777, 0o750);
  });

  test('hub_066 a file in three pieces appears after the last', async () => {
    const content = randomBytes(20 * MIB);
    const forms = [...pieces(content.length, (a, b) => content.subarray(a, b), { name: 'big.bin' })];
    assert.equal(forms.length, 3);
    for (const [index, piece] of forms.entries()) {
      assert.deepEqual(
        (await readdir(inHome('three')).catch(() => [])).filter((name) => !name.startsWith('.')),
        [],
        `before piece ${index}`,
      );
      const answer = await post(server, to('three'), piece);
      assert.equal(await answer.text(), OK);
    }
    assert.ok((await readFile(inHome('three/big.bin'))).equals(content));
    assert.deepEqual(await readdir(inHome('three')), ['big.bin']);
  });

  test('hub_066 a piece that is sent again is taken once', async () => {
    const dzuuid = randomUUID();
    const forms = () => [...pieces(30, (a, b) => 'abc'[a / 10].repeat(b - a), { piece: 10, name: 'again', dzuuid })];
    for (const index of [0, 0, 1, 0, 1, 2, 2]) {
      const answer = await post(server, to('again'), forms()[index]);
      assert.equal(await answer.text(), OK, `piece ${index}`);
    }
    assert.equal(await read('again/again'), 'a'.repeat(10) + 'b'.repeat(10) + 'c'.repeat(10));
  });

  test('hub_066 a piece out of order, or of something else, is refused', async () => {
    const dzuuid = randomUUID();
    const forms = (options) => [...pieces(30, () => 'x'.repeat(10), { piece: 10, name: 'order', dzuuid, ...options })];
    assert.equal((await post(server, to('order'), forms()[1])).status, 409);
    assert.equal((await post(server, to('order'), forms()[0])).status, 200);
    const gap = await post(server, to('order'), forms()[2]);
    assert.equal(gap.status, 409);
    assert.match(await gap.text(), /piece 1 is the next/);
    assert.equal((await post(server, to('elsewhere'), forms()[1])).status, 409);
    assert.equal((await post(server, to('order'), forms({ name: 'other' })[1])).status, 409);
    assert.equal((await post(server, to('order'), forms({ fields: { dzchunkbyteoffset: 11 } })[1])).status, 409);
    // None of it did any harm.
    assert.equal((await post(server, to('order'), forms()[1])).status, 200);
    assert.equal((await post(server, to('order'), forms()[2])).status, 200);
    assert.equal(await read('order/order'), 'x'.repeat(30));
  });

  test('hub_066 an upload that broke off can go on', async () => {
    const dzuuid = randomUUID();
    const content = randomBytes(2 * PIECE);
    const forms = () => [...pieces(content.length, (a, b) => content.subarray(a, b), { name: 'resumed', dzuuid })];
    const progress = async () => (await server.fetch(`/upload?dzuuid=${dzuuid}`)).json();
    assert.equal((await server.fetch(`/upload?dzuuid=${dzuuid}`)).status, 404);
    await post(server, to('resumed'), forms()[0]);
    assert.deepEqual(await progress(), { chunks: 1, total: 2, bytes: PIECE, done: false });

    // Half of the second piece, wrong bytes, and then the line is dead.
    const whole = new Response(forms()[1]);
    const body = Buffer.from(await whole.arrayBuffer());
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      `POST ${to('resumed')} HTTP/1.1\r\nHost: ${server.host}\r\nContent-Length: ${body.length}\r\n` +
        `Content-Type: ${whole.headers.get('content-type')}\r\n\r\n`,
    );
    const half = Buffer.concat([body.subarray(0, 2000), Buffer.alloc(4_000_000, 'x')]);
    await new Promise((resolve) => socket.write(half, resolve));
    socket.destroy();

    assert.equal((await post(server, to('resumed'), forms()[1])).status, 200);
    assert.deepEqual(await progress(), { chunks: 2, total: 2, bytes: content.length, done: true });
    assert.ok((await readFile(inHome('resumed/resumed'))).equals(content));
  });

  test('hub_066 an upload that breaks off leaves nothing', async () => {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    const head = '--X\r\nContent-Disposition: form-data; name="file"; filename="broken"\r\n\r\n';
    socket.write(
      `POST ${to('broken')} HTTP/1.1\r\nHost: ${server.host}\r\nContent-Length: 9000000\r\n` +
        `Content-Type: multipart/form-data; boundary=X\r\n\r\n${head}`,
    );
    socket.write(Buffer.alloc(1_000_000));
    const names = () => readdir(inHome('broken')).catch(() => []);
    await until(async () => (await names()).length === 1, 'a partial file');
    assert.match((await names())[0], /^\.broken\.partialupload-/);
    socket.destroy();
    await until(async () => (await names()).length === 0, 'its end');
  });

  test('hub_067 fullPath makes folders', async () => {
    const fields = { fullPath: 'photos/2026/a.jpg' };
    assert.equal((await post(server, to('dropped'), form('jpg', { name: 'a.jpg', fields }))).status, 200);
    assert.equal(await read('dropped/photos/2026/a.jpg'), 'jpg');
  });

  test('hub_067 a path that leaves is refused', async () => {
    for (const fullPath of ['../evil', 'a/../../evil', '/tmp/evil', '..']) {
      const answer = await post(server, to('x'), form('evil', { name: 'evil', fields: { fullPath } }));
      assert.equal(answer.status, 403, fullPath);
    }
    for (const name of ['..', '.', 'a/b', '']) {
      const answer = await post(server, to('x'), form('evil', { name }));
      assert.ok(answer.status >= 400 && answer.status < 500, `${name}: ${answer.status}`);
    }
    for (const folder of ['..', 'a/../..']) assert.equal((await post(server, to(folder), form('evil'))).status, 403);
    await assert.rejects(stat(inHome('evil')));
    await assert.rejects(stat(join(server.home, '../evil')));
  });

  test('hub_067 a folder is not replaced', async () => {
    await mkdir(inHome('folder/inner'), { recursive: true });
    const answer = await post(server, to('folder'), form('x', { name: 'inner' }));
    assert.equal(answer.status, 409);
    assert.match(await answer.text(), /directory of this name/);
  });

  test('hub_065 another project and another compute server are refused', async () => {
    const other = '11111111-1111-4111-8111-111111111111';
    assert.equal((await post(server, `/upload?project_id=${other}&path=`, form('x'))).status, 404);
    assert.equal((await post(server, '/upload?compute_server_id=3', form('x'))).status, 404);
  });

  test('hub_065 what is no upload is refused in words', async () => {
    const bare = await post(server, to('x'), 'text', { headers: { 'content-type': 'text/plain' } });
    assert.equal(bare.status, 400);
    assert.match(await bare.text(), /no file was uploaded/);
    const nameless = await post(server, to('x'), form('x', { part: 'other' }));
    assert.equal(nameless.status, 400);
    const broken = await post(server, to('x'), '--X\r\n\r\nnothing', {
      headers: { 'content-type': 'multipart/form-data; boundary=X' },
    });
    assert.equal(broken.status, 400);
    await assert.rejects(stat(inHome('x')));
  });

  test('hub_065 a page of another origin may not upload', async () => {
    const headers = { origin: 'http://evil.example' };
    assert.equal((await post(server, to('x'), form('x', { name: 'foreign' }), { headers })).status, 403);
    await assert.rejects(stat(inHome('x/foreign')));
    const own = { origin: server.url };
    assert.equal((await post(server, to('origin'), form('x'), { headers: own })).status, 200);
  });
});

test('hub_066 large uploads are not held in memory', async (t) => {
  const server = await startServer(t, { services: 'bus,files' });
  const block = Buffer.alloc(PIECE);
  const size = 30 * PIECE;
  await post(server, to('warm'), form(block));
  const before = await server.peakRss();
  for (const piece of pieces(size, () => block, { name: 'large.bin' })) {
    assert.equal((await post(server, to(''), piece)).status, 200);
  }
  assert.equal((await stat(join(server.home, 'large.bin'))).size, size);
  const grown = (await server.peakRss()) - before;
  assert.ok(grown < 24 * MIB, `memory grew by ${grown}`);
});

test('hub_066 parts of an upload are gone after a crash', async (t) => {
  const server = await startServer(t, { services: 'bus,files' });
  const [first] = pieces(20, () => 'x'.repeat(10), { piece: 10, name: 'half' });
  assert.equal((await post(server, to('crash'), first)).status, 200);
  assert.equal((await readdir(join(server.home, 'crash'))).length, 1);
  await server.restart();
  assert.deepEqual(await readdir(join(server.home, 'crash')), []);
});

test('hub_066 a full disk is said so, and nothing is left of the file', async (t) => {
  const server = await startServer(undefined, { services: 'bus,files' });
  const disk = join(server.home, 'small');
  await mkdir(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', disk], { stdio: 'ignore' });
  } catch {
    await server.stop();
    return t.skip('mounting needs root');
  }
  t.after(async () => {
    execFileSync('umount', ['-l', disk]);
    await server.stop();
  });
  await writeFile(join(disk, 'kept'), 'old');
  for (const body of [
    form(Buffer.alloc(6 * MIB), { name: 'kept' }),
    [...pieces(2 * PIECE, () => Buffer.alloc(PIECE), { name: 'kept' })][0],
  ]) {
    const answer = await post(server, to('small'), body);
    assert.equal(answer.status, 507);
    assert.match(await answer.text(), /no space left/);
    await until(async () => (await readdir(disk)).length === 1, 'an end of the partial file');
    assert.equal(await readFile(join(disk, 'kept'), 'utf8'), 'old');
  }
  assert.equal((await post(server, to('small'), form('fits', { name: 'kept' }))).status, 200);
});

test('hub_067 with files = home nothing is written outside', async (t) => {
  const server = await startServer(t, { services: 'bus,files', env: { OUTPOST_FILES: 'home' } });
  await symlink('..', join(server.home, 'up'));
  const outside = join(server.home, '..');
  for (const folder of [outside, `.smc/root${outside}`, 'up', 'up/new']) {
    assert.equal((await post(server, to(folder), form('evil', { name: 'evil' }))).status, 403, folder);
  }
  assert.deepEqual((await readdir(outside)).sort(), ['data', 'home']);
  assert.equal((await post(server, to(join(server.home, 'in')), form('x', { name: 'x' }))).status, 200);
  const machine = await startServer(t, { services: 'bus,files', env: { OUTPOST_FILES: 'machine' } });
  const elsewhere = join(machine.home, '../elsewhere');
  assert.equal((await post(machine, to(`.smc/root${elsewhere}`), form('x', { name: 'x' }))).status, 200);
  assert.equal(await readFile(join(elsewhere, 'x'), 'utf8'), 'x');
});
