import { useEffect } from 'preact/hooks';
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { Icon } from '../ui/icons';
import { busState, client } from './session';

/** How the connection is doing, always in sight; while it is lost, when the next try is due and a way not to wait. */
export function ConnectionState(): JSX.Element {
  const state = busState.value;
  const waiting = state.phase === 'waiting';
  return (
    <div class="connection" data-phase={state.phase}>
      <span class="connection-dot" aria-hidden="true" />
      <span role="status" class="connection-text">
        {TEXT[state.phase]}
      </span>
      {waiting && (
        <>
          <Countdown until={state.retryAt} />
          <button type="button" class="button button-small" title={state.reason} onClick={() => client.retryNow()}>
            <Icon name="retry" />
            <span class="connection-retry">Retry now</span>
          </button>
        </>
      )}
    </div>
  );
}

const TEXT = {
  connecting: 'Connecting…',
  connected: 'Connected',
  waiting: 'Reconnecting',
  'signed-out': 'Signed out',
  closed: 'Disconnected',
};

/** Not part of the status text: a screen reader should not count aloud. */
function Countdown({ until }: { until: number }): JSX.Element {
  const now = useSignal(Date.now());
  useEffect(() => {
    now.value = Date.now();
    const timer = setInterval(() => (now.value = Date.now()), 250);
    return () => clearInterval(timer);
  }, [until, now]);
  return <span class="connection-countdown">in {Math.max(0, Math.ceil((until - now.value) / 1000))} s</span>;
}
