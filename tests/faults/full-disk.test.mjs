// A disk that fills up: writes are refused with a code, reads go on, and with room again everything goes on by itself.
// It needs a small file system of its own, which only root may mount.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { connect } from '../support/client.mjs';
import { openStream } from '../support/persist.mjs';
import { startServer } from '../support/server.mjs';
import { until } from '../support/wait.mjs';

const run = promisify(execFile);

test('a full disk', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'outpost-full-'));
  const disk = join(folder, 'disk');
  await mkdir(disk);
  t.after(async () => {
    // Nothing is mounted where nothing may be.
    await run('umount', ['-l', disk]).catch(() => {});
    await rm(folder, { recursive: true, force: true });
  });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', disk]);
  } catch (error) {
    return t.skip(`a file system of its own can't be mounted: ${error.stderr?.trim()}`);
  }
  const server = await startServer(t, { services: 'bus,persist', data: join(disk, 'data') });
  const client = await connect(t, server);
  const stream = await openStream(client, 'hub/full', {});
  const acknowledged = [];
  const write = async (size) => {
    const { seq } = await stream.set(randomBytes(size), { headers: { n: acknowledged.length } });
    acknowledged.push(seq);
  };
  for (let n = 0; n < 20; n++) await write(100);
  // What somebody else puts on the disk.
  const filler = join(disk, 'filler');
  await run('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k']).catch(() => {});

  let refusal;
  await until(async () => {
    refusal = await write(200_000).then(
      () => undefined,
      (error) => error,
    );
    return refusal;
  }, 'a write that is refused');
  assert.match(refusal.code, /^(ENOSPC|SQLITE_FULL|SQLITE_IOERR\w*)$/, refusal.message);
  await until(async () => (await (await server.fetch('/readyz')).json()).state === 'degraded', 'degraded');
  assert.equal((await server.fetch('/readyz')).status, 200, 'what can be read is served');

  const { messages } = await stream.getAll();
  assert.deepEqual(
    messages.map(({ seq }) => seq),
    acknowledged,
    'reads go on, and nothing that was acknowledged is lost',
  );
  const reader = await openStream(client, 'hub/full', {});
  assert.equal((await reader.inventory()).count, acknowledged.length);

  await rm(filler);
  await until(
    () =>
      write(1000).then(
        () => true,
        () => false,
      ),
    'a write that succeeds again',
  );
  await until(async () => (await (await server.fetch('/readyz')).json()).state === 'ready', 'ready again');
  await server.restart();
  const again = await openStream(await connect(t, server), 'hub/full', {});
  assert.deepEqual(
    (await again.getAll()).messages.map(({ seq }) => seq),
    acknowledged,
    'numbers without a gap, also after a restart',
  );
});
