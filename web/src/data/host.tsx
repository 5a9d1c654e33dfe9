import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { FunctionComponent, JSX } from 'preact';
import { messageOf } from '../bus/error';
import { Empty } from '../ui/empty';
import { Progress } from '../ui/progress';

/** Loads the data view when it is first shown: most visits don't need it. */
export function DataHost(): JSX.Element {
  const view = useSignal<FunctionComponent | undefined>(undefined);
  const failure = useSignal('');
  const attempt = useSignal(0);
  useEffect(() => {
    failure.value = '';
    import('./view').then(
      (module) => (view.value = module.DataView),
      (error: unknown) => (failure.value = messageOf(error)),
    );
  }, [attempt.value, failure, view]);
  const View = view.value;
  if (View) return <View />;
  return (
    <main class="page">
      <h1 class="visually-hidden">Data</h1>
      {failure.value === '' ? (
        <Progress label="Loading the data view" />
      ) : (
        <Empty title="The data view could not be loaded.">
          <button type="button" class="button" onClick={() => attempt.value++}>
            Try again
          </button>
        </Empty>
      )}
    </main>
  );
}
