import { computed, signal } from '@preact/signals';
import { Backoff } from '../bus/backoff';
import { Client, type ClientState } from '../bus/client';
import { randomId } from '../bus/id';
import { basePath, busUrl } from './base';

/** Who and what this page works with, as the server's configuration says. */
export interface Identity {
  accountId: string;
  projectId: string;
}

/** Too many connections or sign-ins: worth another try, but not a quick one. */
const BUSY_RETRY_MS = 15_000;

/** Names this page in the server's list of connections. */
export const browserId = randomId();

/** The page's one client of the bus. */
export const client = new Client({ url: busUrl(location), auth: { browser_id: browserId } });

/** Where the connection stands. */
export const busState = signal<ClientState>(client.state);

/** The server's configuration, as soon as it is there. */
export const identity = signal<Identity | undefined>(undefined);

/** The account whose subjects are ours; a server without accounts lends us its default one. */
export const accountId = computed(() => {
  const state = busState.value;
  const signedIn = state.phase === 'connected' ? state.info.user?.account_id : undefined;
  return signedIn ?? identity.value?.accountId;
});

/** Connects and fetches the configuration; to be called once. */
export function start(): void {
  client.events.on('state', (state) => {
    busState.value = state;
    // A refused WebSocket looks like a broken one; plain HTTP tells which it is.
    if (state.phase === 'waiting' && !state.answered) void checkSignIn();
    if (state.phase === 'signed-out' && state.code === 429) setTimeout(() => client.retryNow(), BUSY_RETRY_MS);
  });
  window.addEventListener('online', () => void client.verify());
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') void client.verify();
  });
  window.addEventListener('pageshow', ({ persisted }) => {
    if (persisted) void client.verify();
  });
  client.open();
  void fetchIdentity(new Backoff(2000, 1.5, 30_000));
}

async function fetchIdentity(pause: Backoff): Promise<void> {
  try {
    const response = await fetch(`${basePath(location.pathname)}/customize`, { credentials: 'same-origin' });
    if (response.status === 401) {
      client.signOut('This page is not signed in.', 401);
      return;
    }
    identity.value = readIdentity(await response.json());
  } catch {
    setTimeout(() => void fetchIdentity(pause), pause.next());
  }
}

function readIdentity(customize: unknown): Identity {
  const { configuration } = customize as { configuration: { account_id: unknown; project_id: unknown } };
  const { account_id: accountId, project_id: projectId } = configuration;
  if (typeof accountId !== 'string' || typeof projectId !== 'string') throw new TypeError('no identity');
  return { accountId, projectId };
}

async function checkSignIn(): Promise<void> {
  try {
    const { status } = await fetch(`${basePath(location.pathname)}/customize`, { credentials: 'same-origin' });
    if (status === 401) client.signOut('The sign-in has expired, or the token of this server has changed.', 401);
  } catch {
    // No network: the connection goes on trying.
  }
}
