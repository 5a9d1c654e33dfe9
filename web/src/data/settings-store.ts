import { basePath } from '../app/base';
import { accountId, client } from '../app/session';
import { BusError } from '../bus/error';

const TIMEOUT_MS = 15_000;

/** Settings as they are stored, and what is in effect for those that the server tells everybody. */
export interface Settings {
  stored: Record<string, string>;
  effective: Record<string, unknown>;
}

async function userQuery(query: object): Promise<unknown> {
  const subject = `hub.account.${accountId.value ?? ''}.api`;
  try {
    return (await client.request(subject, { name: 'db.userQuery', args: [{ query }] }, { timeoutMs: TIMEOUT_MS })).data;
  } catch (error) {
    if (error instanceof BusError && error.code === 503 && error.message.startsWith('nobody listens')) {
      throw new BusError('this server does not offer them; the service hub must be switched on', 503);
    }
    throw error;
  }
}

/** Reads all settings. */
export async function readSettings(): Promise<Settings> {
  const [answer, customize] = await Promise.all([
    userQuery({ site_settings: [{ name: null, value: null }] }),
    fetch(`${basePath(location.pathname)}/customize`, { credentials: 'same-origin' }).then(
      (it) => it.json() as unknown,
    ),
  ]);
  const rows = (answer as { site_settings?: { name: string; value?: unknown }[] }).site_settings ?? [];
  const stored = Object.fromEntries(
    rows.flatMap(({ name, value }) => (typeof value === 'string' ? [[name, value] as const] : [])),
  );
  const { configuration = {} } = customize as { configuration?: Record<string, unknown> };
  return { stored, effective: configuration };
}

/** Stores one setting. */
export async function writeSetting(name: string, value: string): Promise<void> {
  await userQuery({ site_settings: { name, value } });
}
