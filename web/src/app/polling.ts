import { effect, signal, type Signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { messageOf } from '../bus/error';
import { accountId, busState } from './session';

/**
 * While a view is shown, the page visible and the bus connected: calls `poll` every `intervalMs` (once, if that is infinite), one call at a time,
 * and keeps the error of the last one.
 */
export function usePolling(
  poll: () => Promise<void>,
  intervalMs: number,
  paused: Signal<boolean>,
  error: Signal<string>,
) {
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stopped = false;
    const visible = signal(document.visibilityState === 'visible');
    const watch = () => (visible.value = document.visibilityState === 'visible');
    document.addEventListener('visibilitychange', watch);
    const run = async (current: () => boolean): Promise<void> => {
      try {
        await poll();
        error.value = '';
      } catch (failure) {
        if (busState.peek().phase === 'connected') error.value = messageOf(failure);
      }
      if (current() && !stopped && Number.isFinite(intervalMs)) timer = setTimeout(() => void run(current), intervalMs);
    };
    let generation = 0;
    const dispose = effect(() => {
      const wanted = busState.value.phase === 'connected' && visible.value && !paused.value && accountId.value;
      clearTimeout(timer);
      const mine = ++generation;
      if (wanted) void run(() => mine === generation);
    });
    return () => {
      stopped = true;
      dispose();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', watch);
    };
  }, [poll, intervalMs, paused, error]);
}
