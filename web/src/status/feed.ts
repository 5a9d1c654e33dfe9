import { effect, signal } from '@preact/signals';
import { messageOf } from '../bus/error';
import type { Subscription } from '../bus/subscriptions';
import { accountId, busState, client } from '../app/session';
import { isStatus, ratesBetween, type Rates, type Status } from './rates';

/** How many seconds the graphs show. */
export const HISTORY_LENGTH = 300;

/** A healthy server publishes every second; after this long without we say so. */
const QUIET_MS = 6_000;

/** The newest sample. */
export const latest = signal<Status | undefined>(undefined);

/** One entry a second, oldest first; nothing where a second is missing. */
export const history = signal<(Rates | { time: number })[]>([]);

/** Why there are no samples, when there should be some. */
export const trouble = signal('');

let watchdog: ReturnType<typeof setTimeout> | undefined;

function expectSample(): void {
  clearTimeout(watchdog);
  watchdog = setTimeout(() => (trouble.value = 'The server publishes no status.'), QUIET_MS);
}

function take(sample: Status): void {
  trouble.value = '';
  expectSample();
  const before = latest.peek();
  latest.value = sample;
  if (!before) return;
  const next = ratesBetween(before, sample) ?? { time: sample.time };
  history.value = [...history.peek().slice(1 - HISTORY_LENGTH), next];
}

/** Listens to the server's status from now on, so that the graphs have a past when they are looked at. */
export function followStatus(): void {
  let subscription: Subscription | undefined;
  effect(() => {
    subscription?.close();
    const account = accountId.value;
    if (!account) return;
    const own = client.subscribe(`outpost.account-${account}.status`, ({ data }) => {
      if (isStatus(data)) take(data);
    });
    subscription = own;
    own.ready.catch((error: unknown) => {
      if (subscription === own) trouble.value = messageOf(error);
    });
  });
  effect(() => {
    if (busState.value.phase === 'connected') expectSample();
    else clearTimeout(watchdog);
  });
}
