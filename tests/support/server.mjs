// Starts the program under test as a process of its own, in directories of its own, on a port of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, mkdir, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until, within } from './wait.mjs';

export const BINARY = process.env.OUTPOST_BIN ?? fileURLToPath(new URL('../../target/debug/outpost', import.meta.url));

export const ACCOUNT = '00000000-1000-4000-8000-000000000001';
export const PROJECT = '00000000-1000-4000-8000-000000000000';
export const METRICS_TOKEN = 'metrics-token-of-the-tests';

/** Lets /proc/<pid>/… answer "is it still there" without signals. */
const alive = (child) => child.exitCode === null && child.signalCode === null;

export class Server {
  #child;
  #root;
  #settings;
  stdout = '';
  stderr = '';

  constructor(root, settings) {
    this.#root = root;
    this.#settings = settings;
    this.home = join(root, 'home');
    this.data = settings.data ?? join(root, 'data');
  }

  get pid() {
    return this.#child.pid;
  }

  get host() {
    return `127.0.0.1:${this.port}`;
  }

  /** Address without the path of the bus: `http://127.0.0.1:4711/x`. */
  get url() {
    return `http://${this.host}${this.basePath}`;
  }

  async launch(port = 0) {
    const { policy, services, env } = this.#settings;
    // Nothing is inherited but PATH: a setting in the shell of whoever runs the tests must not change them.
    this.#child = spawn(BINARY, ['serve'], {
      cwd: this.home,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOST: '127.0.0.1',
        PORT: String(port),
        HOME: this.home,
        DATA: this.data,
        OUTPOST_POLICY: policy,
        OUTPOST_SERVICES: services,
        OUTPOST_METRICS_TOKEN: METRICS_TOKEN,
        ...env,
      },
    });
    const child = this.#child;
    child.stdout.setEncoding('utf8').on('data', (text) => (this.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr += text));
    let failure;
    child.on('error', (error) => (failure = error));
    const info = await until(
      async () => {
        if (failure) throw failure;
        if (!alive(child)) throw new Error(`the server ended with ${child.exitCode}: ${this.stderr}`);
        const text = await readFile(join(this.data, 'connection-info.json'), 'utf8').catch(() => '');
        // A file that a killed predecessor left behind carries another pid.
        return text.endsWith('}') || text.endsWith('}\n') ? fresh(JSON.parse(text), child.pid) : undefined;
      },
      'connection-info.json of the server',
      30_000,
    );
    this.port = info.port;
    this.basePath = (info.base_path ?? '').replace(/\/$/, '');
    return this;
  }

  async fetch(path, options = {}) {
    const headers = { connection: 'close', ...options.headers };
    return fetch(this.url + path, { signal: AbortSignal.timeout(10_000), redirect: 'manual', ...options, headers });
  }

  /** The samples of `/metrics` as a map from `name{labels}` to number. */
  async metrics() {
    const answer = await this.fetch('/metrics', { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
    if (answer.status !== 200) throw new Error(`/metrics answered ${answer.status}`);
    const samples = new Map();
    for (const line of (await answer.text()).split('\n')) {
      const [, name, value] = /^([^#\s][^\s{]*(?:\{.*\})?)\s(\S+)/.exec(line) ?? [];
      if (name) samples.set(name, Number(value));
    }
    return samples;
  }

  /** One gauge or counter without labels. */
  async metric(name) {
    const samples = await this.metrics();
    const value = samples.get(name) ?? samples.get(`${name}_total`);
    if (value === undefined) throw new Error(`no metric ${name} among ${[...samples.keys()].join(' ')}`);
    return value;
  }

  /** Resident memory in bytes, as the kernel counts it. */
  rss() {
    return this.#memory('VmRSS');
  }

  /** The most that it ever was. */
  peakRss() {
    return this.#memory('VmHWM');
  }

  async #memory(line) {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8');
    return Number(new RegExp(`^${line}:\\s+(\\d+) kB$`, 'm').exec(status)[1]) * 1024;
  }

  async descriptors() {
    return (await readdir(`/proc/${this.pid}/fd`)).length;
  }

  /** Ends the process with `signal` and waits until it is gone. */
  async kill(signal = 'SIGKILL') {
    const child = this.#child;
    if (!child || !alive(child)) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await within(15_000, gone, `end of the server after ${signal}`);
  }

  /** A new process with the same settings and directories on the same port. */
  async restart() {
    await this.kill();
    return this.launch(this.port);
  }

  async stop() {
    await this.kill('SIGKILL');
    await rm(this.#root, { recursive: true, force: true });
  }
}

const fresh = (info, pid) => (info.pid === pid ? info : undefined);

/**
 * A running server. `t` is the test (or nothing: then the caller stops it); `env` overrides single settings.
 * Only the bus runs unless `services` says otherwise, so that nobody but the test is on the bus.
 */
export async function startServer(t, { policy = 'open', services = 'bus', env = {}, data } = {}) {
  const root = await mkdtemp(join(tmpdir(), 'outpost-test-'));
  const server = new Server(root, { policy, services, env, data });
  await mkdir(server.home);
  t?.after(() => server.stop());
  try {
    return await server.launch();
  } catch (error) {
    await server.stop();
    throw error;
  }
}
