// The load of the append benchmark inside a memory cgroup of 64 MiB: the server is not killed and loses nothing.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { connect } from '../support/client.mjs';
import { openStream } from '../support/persist.mjs';
import { startServer } from '../support/server.mjs';

const LIMIT = 64 * 1024 * 1024;
const WRITERS = 8;
/** Of each writer. */
const [IN_FLIGHT, MESSAGES] = [8, 2000];

/** A cgroup with a limit, of either version; nothing where none may be made. */
async function limitedGroup() {
  const name = `outpost-test-${randomBytes(4).toString('hex')}`;
  const versions = [
    {
      root: '/sys/fs/cgroup/memory',
      limit: 'memory.limit_in_bytes',
      kills: 'memory.oom_control',
      used: 'memory.max_usage_in_bytes',
    },
    { root: '/sys/fs/cgroup', limit: 'memory.max', kills: 'memory.events', used: 'memory.peak' },
  ];
  for (const { root, limit, kills, used } of versions) {
    const folder = `${root}/${name}`;
    try {
      await mkdir(folder);
      await writeFile(`${folder}/${limit}`, String(LIMIT));
      return {
        add: (pid) => writeFile(`${folder}/cgroup.procs`, String(pid)),
        kills: async () => Number(/^oom_kill (\d+)$/m.exec(await readFile(`${folder}/${kills}`, 'utf8'))?.[1] ?? 0),
        peak: async () => Number(await readFile(`${folder}/${used}`, 'utf8').catch(() => 'NaN')),
        // Whoever is still in it after a failed test keeps it there.
        remove: () => rmdir(folder).catch(() => {}),
      };
    } catch {
      await rmdir(folder).catch(() => {});
    }
  }
  return undefined;
}

test('64 appends in flight inside 64 MiB', async (t) => {
  const group = await limitedGroup();
  if (!group) return t.skip('no memory cgroup can be made here');
  t.after(() => group.remove());
  const server = await startServer(t, { services: 'bus,persist' });
  await group.add(server.pid);
  const writers = Array.from({ length: WRITERS }, async (_, n) => {
    const stream = await openStream(await connect(t, server), `hub/limit/${n}`, {});
    const value = randomBytes(125);
    const worker = async () => {
      for (let i = 0; i < MESSAGES / IN_FLIGHT; i++) await stream.set(value);
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
    return (await stream.inventory()).count;
  });
  assert.deepEqual(await Promise.all(writers), Array(WRITERS).fill(MESSAGES));
  const peak = await group.peak();
  assert.equal(await group.kills(), 0, 'nobody was killed');
  assert.equal((await server.fetch('/healthz')).status, 200);
  console.log(
    `${WRITERS * MESSAGES} appends; the group used ${(peak / 2 ** 20).toFixed(1)} MiB at most, page cache included`,
  );
  await server.kill('SIGKILL');
});
