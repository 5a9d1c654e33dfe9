// hub.md §18 F: downloads of the project's files.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, open, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { bodyOf, raw } from '../../support/forms.mjs';
import { PROJECT, startServer } from '../../support/server.mjs';
import { SOON, until, within } from '../../support/wait.mjs';

const run = promisify(execFile);
const MIB = 1 << 20;

/** The path of a file, encoded as clients do. */
const at = (path) => `/${PROJECT}/files/${path.split('/').map(encodeURIComponent).join('/')}`;

/** A file that has a size but takes no room. */
async function sparse(path, size) {
  const file = await open(path, 'w');
  await file.truncate(size);
  await file.close();
}

describe('downloads', { concurrency: true }, () => {
  let server;
  const put = async (path, content) => {
    await mkdir(join(server.home, path, '..'), { recursive: true });
    await writeFile(join(server.home, path), content);
  };
  before(async () => {
    server = await startServer(undefined, { services: 'bus,files' });
  });
  after(() => server?.stop());

  test('hub_057 a file comes with its content type and length', async () => {
    await put('dir/a b.txt', 'file content\n');
    const answer = await server.fetch(at('dir/a b.txt'));
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get('content-type'), /^text\/plain/);
    assert.equal(answer.headers.get('content-length'), '13');
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(answer.headers.get('content-disposition'), null);
    assert.equal(await answer.text(), 'file content\n');
    await put('dir/noextension', 'x');
    assert.equal((await server.fetch(at('dir/noextension'))).headers.get('content-type'), 'application/octet-stream');
    await put('dir/empty.txt', '');
    const empty = await server.fetch(at('dir/empty.txt'));
    assert.deepEqual([empty.status, empty.headers.get('content-length'), await empty.text()], [200, '0', '']);
  });

  test('hub_058 names with special characters work when encoded', async () => {
    for (const name of ['a#b.txt', 'a?b.txt', 'a%b.txt', 'a%20b.txt', 'ümläut 雪.txt', "a'(b)&c=d+e;f.txt", '..a']) {
      await put(`names/${name}`, name);
      const answer = await server.fetch(at(`names/${name}`));
      assert.equal(answer.status, 200, name);
      assert.equal(await answer.text(), name);
    }
  });

  test('hub_058 cache-busting numbers are ignored, other compute servers are not here', async () => {
    await put('busted.txt', 'x');
    assert.equal((await server.fetch(at('busted.txt') + '?4711')).status, 200);
    assert.equal((await server.fetch(at('busted.txt') + '?id=0')).status, 200);
    assert.equal((await server.fetch(at('busted.txt') + '?id=7')).status, 404);
  });

  test('hub_059 download makes it an attachment with an encoded name', async () => {
    await put('dir/snow 雪.txt', 'x');
    for (const query of ['?download', '?download=', '?id=0&download']) {
      const answer = await server.fetch(at('dir/snow 雪.txt') + query);
      const disposition = answer.headers.get('content-disposition');
      assert.equal(disposition, "attachment; filename*=UTF-8''snow%20%E9%9B%AA.txt");
    }
  });

  test('hub_060 SVG is always an attachment', async () => {
    for (const name of ['x.svg', 'x.SVG', 'x.xhtml', 'x.xml']) {
      await put(`active/${name}`, '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>');
      const answer = await server.fetch(at(`active/${name}`));
      assert.match(answer.headers.get('content-disposition'), /^attachment;/, name);
    }
  });

  test('hub_060 a page may be shown, but never as a part of ours', async () => {
    await put('active/page.html', '<script>alert(1)</script>');
    const answer = await server.fetch(at('active/page.html'));
    const policy = answer.headers.get('content-security-policy');
    assert.match(policy, /(^|;)\s*sandbox/);
    assert.doesNotMatch(policy, /allow-same-origin/);
    // The rest of a file, and "unchanged", are under the same policy.
    const part = await server.fetch(at('active/page.html'), { headers: { range: 'bytes=3-' } });
    assert.equal(part.headers.get('content-security-policy'), policy);
  });

  test('hub_061 what is missing is an error, not a redirect', async () => {
    for (const path of ['missing.txt', 'missing/x.txt', 'dir/a b.txt/x']) {
      const answer = await server.fetch(at(path));
      assert.equal(answer.status, 404, path);
      assert.match(answer.headers.get('content-type'), /^text\/plain/);
    }
    assert.equal((await server.fetch(`/${PROJECT}/files/%00`)).status, 404);
  });

  test('hub_061 what is no file does not block', async () => {
    await run('mkfifo', [join(server.home, 'pipe')]);
    assert.equal((await server.fetch(at('pipe'))).status, 403);
    assert.equal((await server.fetch(at('/dev/zero'))).status, 403);
  });

  test('hub_062 files of another project are not served', async () => {
    await put('mine.txt', 'mine');
    const answer = await server.fetch(at('mine.txt').replace(PROJECT, '11111111-1111-4111-8111-111111111111'));
    assert.notEqual(answer.status, 200);
    assert.doesNotMatch(await answer.text(), /mine/);
  });

  test('hub_064 a range gives 206', async () => {
    await put('range.bin', Buffer.from(Array.from({ length: 256 }, (_, i) => i)));
    const ask = (range) => server.fetch(at('range.bin'), { headers: { range } });
    const first = await ask('bytes=0-9');
    assert.equal(first.status, 206);
    assert.equal(first.headers.get('content-range'), 'bytes 0-9/256');
    assert.deepEqual([...Buffer.from(await first.arrayBuffer())], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const last = await ask('bytes=-2');
    assert.deepEqual([...Buffer.from(await last.arrayBuffer())], [254, 255]);
    const beyond = await ask('bytes=256-');
    assert.equal(beyond.status, 416);
    assert.equal(beyond.headers.get('content-range'), 'bytes */256');
    const several = await ask('bytes=0-1,4-5');
    assert.equal(several.status, 200);
    assert.equal((await several.arrayBuffer()).byteLength, 256);
  });

  test('hub_064 HEAD and conditional requests', async () => {
    await put('head.txt', '12345');
    const head = await server.fetch(at('head.txt'), { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.headers.get('content-length'), '5');
    assert.equal(head.headers.get('accept-ranges'), 'bytes');
    assert.equal(await head.text(), '');
    const etag = head.headers.get('etag');
    const same = await server.fetch(at('head.txt'), { headers: { 'if-none-match': etag } });
    assert.equal(same.status, 304);
    await put('head.txt', '123456');
    assert.equal((await server.fetch(at('head.txt'), { headers: { 'if-none-match': etag } })).status, 200);
  });

  test('hub_061 a folder comes as an archive', async () => {
    await put('box/a.txt', 'a'.repeat(100_000));
    await put('box/deep/ü.txt', 'deep');
    await mkdir(join(server.home, 'box/empty'));
    await symlink('/etc', join(server.home, 'box/link'));
    const answer = await server.fetch(at('box'));
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'application/zip');
    assert.equal(answer.headers.get('content-disposition'), "attachment; filename*=UTF-8''box.zip");
    const archive = join(server.data, 'box.zip');
    await writeFile(archive, Buffer.from(await answer.arrayBuffer()));
    const script = `import sys,zipfile
z=zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None
print(*sorted(z.namelist()), sep="\\n"); print(z.read("box/deep/ü.txt").decode(), z.read("box/link").decode())`;
    const { stdout } = await run('python3', ['-c', script, archive], { env: { ...process.env, PYTHONUTF8: '1' } });
    const names = ['box/', 'box/a.txt', 'box/deep/', 'box/deep/ü.txt', 'box/empty/', 'box/link'];
    assert.deepEqual(stdout.trim().split('\n'), [...names, 'deep /etc']);
  });

  test('hub_061 an archive whose client is gone ends, and not too many are packed', async () => {
    await put('large/noise.bin', randomBytes(24 * MIB));
    const stalled = [];
    for (;;) {
      const response = await raw(server, at('large'));
      if (response.statusCode !== 200) {
        assert.equal(response.statusCode, 503);
        assert.ok(response.headers['retry-after']);
        break;
      }
      response.pause();
      stalled.push(response);
      assert.ok(stalled.length < 20);
    }
    for (const response of stalled) response.destroy();
    await until(async () => {
      const response = await raw(server, at('large'));
      if (response.statusCode !== 200) return false;
      return (await bodyOf(response)).length > 24 * MIB;
    }, 'room for another archive');
  });

  test('hub_063 a file that becomes shorter breaks the connection', async () => {
    const path = join(server.home, 'shrinks.bin');
    await sparse(path, 200 * MIB);
    const response = await raw(server, at('shrinks.bin'));
    assert.equal(response.headers['content-length'], String(200 * MIB));
    await truncate(path, 0);
    await assert.rejects(within(SOON, bodyOf(response), 'end of the download'), /aborted|ECONNRESET/);
  });
});

test('hub_063 large files are not held in memory', async (t) => {
  const server = await startServer(t, { services: 'bus,files' });
  await sparse(join(server.home, 'huge.bin'), 5 * 1024 * MIB);
  await sparse(join(server.home, 'large.bin'), 300 * MIB);
  const end = await server.fetch(at('huge.bin'), { headers: { range: 'bytes=-10' } });
  assert.equal(end.headers.get('content-range'), `bytes 5368709110-5368709119/5368709120`);
  const head = await server.fetch(at('huge.bin'), { method: 'HEAD' });
  assert.equal(head.headers.get('content-length'), '5368709120');
  const before = await server.peakRss();
  const slow = await raw(server, at('huge.bin'));
  slow.pause();
  let size = 0;
  for await (const part of await raw(server, at('large.bin'))) size += part.length;
  assert.equal(size, 300 * MIB);
  slow.destroy();
  const grown = (await server.peakRss()) - before;
  assert.ok(grown < 24 * MIB, `memory grew by ${grown}`);
});

test('hub_062 the setting files says how far paths reach', async (t) => {
  const outside = '/etc/hostname';
  const machine = await startServer(t, { services: 'bus,files' });
  await symlink(outside, join(machine.home, 'link'));
  for (const path of [`/${PROJECT}/files/.smc/root${outside}`, `/${PROJECT}/files/${encodeURIComponent(outside)}`]) {
    assert.equal((await machine.fetch(path)).status, 200, path);
  }
  assert.equal((await machine.fetch(at('link'))).status, 200);

  const home = await startServer(t, { services: 'bus,files', env: { OUTPOST_FILES: 'home' } });
  await symlink(outside, join(home.home, 'link'));
  await symlink('/', join(home.home, 'up'));
  for (const path of [
    `/${PROJECT}/files/.smc/root${outside}`,
    `/${PROJECT}/files/${encodeURIComponent(outside)}`,
    `/${PROJECT}/files/../../../../../..${outside}`,
    `/${PROJECT}/files/%2e%2e/%2e%2e%2f%2e%2e/%2e%2e${outside}`,
    at('link'),
    at('up/etc/hostname'),
  ]) {
    assert.equal((await raw(home, path)).statusCode, 403, path);
  }
});

test('hub_010 without the cookie there are no files', async (t) => {
  const server = await startServer(t, { policy: 'lite', services: 'bus,files', env: { AUTH_TOKEN: 'a-long-token' } });
  await writeFile(join(server.home, 'a.txt'), 'x');
  assert.equal((await server.fetch(at('a.txt'))).status, 401);
  const headers = { authorization: 'Bearer a-long-token' };
  assert.equal((await server.fetch(at('a.txt'), { headers })).status, 200);
});
