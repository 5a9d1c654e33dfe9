import { signal, useSignal, type Signal } from '@preact/signals';
import { useCallback, useRef } from 'preact/hooks';
import { usePolling } from '../app/polling';

/** What a view shows of something at the server. */
export interface Loaded<T> {
  /** The newest answer to the present question; the answer to the one before while there is none. */
  value: T | undefined;
  /** Is it an answer to the present question? */
  current: boolean;
  /** Is the server being asked something new? */
  busy: boolean;
  error: string;
  reload: () => void;
}

const never = signal(false);

/**
 * Asks `load` whenever `key` changes, when the connection is back, and every `intervalMs`, so that what is shown is true.
 * A late answer to an old question is thrown away.
 */
export function useLoaded<T>(key: string, load: () => Promise<T>, intervalMs = 5000): Loaded<T> {
  const answer = useSignal<{ key: string; value: T } | undefined>(undefined);
  const error = useSignal('');
  const round = useSignal(0);
  const asked = useRef(0);
  const failed: Signal<string> = useSignal('');
  const poll = useCallback(async () => {
    const mine = ++asked.current;
    try {
      const value = await load();
      if (mine !== asked.current) return;
      answer.value = { key, value };
      failed.value = '';
    } catch (failure) {
      // The error belongs to the question that is asked now, or to nobody.
      if (mine !== asked.current) return;
      failed.value = key;
      throw failure;
    }
  }, [key, round.value]);
  usePolling(poll, intervalMs, never, error);
  const current = answer.value?.key === key;
  const wrong = error.value !== '' && failed.value === key;
  return {
    value: answer.value?.value,
    current,
    busy: !current && !wrong,
    error: wrong ? error.value : '',
    reload: () => round.value++,
  };
}
