import { useEffect, useRef } from 'preact/hooks';
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import type uPlot from 'uplot';
import { isDark } from '../app/theme';
import { history, HISTORY_LENGTH } from './feed';

type Quantity = 'messagesIn' | 'messagesOut' | 'bytesIn' | 'bytesOut';

interface Props {
  title: string;
  /** What is drawn: into the server, and out of it. */
  incoming: Quantity;
  outgoing: Quantity;
  format: (value: number) => string;
  /** Are the numbers bytes, whose round values are powers of two? */
  binary?: boolean;
}

const HEIGHT = 220;

/** A live graph of two rates over the last five minutes. */
export function Graph({ title, incoming, outgoing, format, binary = false }: Props): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const failed = useSignal(false);
  const dark = isDark.value;
  useEffect(() => {
    const element = host.current;
    if (!element) return undefined;
    let cleanUp: (() => void) | undefined;
    let gone = false;
    import('./plot').then(
      ({ plot }) => {
        if (!gone) cleanUp = plot(element, HEIGHT, () => table(incoming, outgoing), format, binary);
      },
      () => (failed.value = true),
    );
    return () => {
      gone = true;
      cleanUp?.();
    };
  }, [incoming, outgoing, format, binary, dark, failed]);
  const last = history.value.at(-1);
  const [latestIn, latestOut] = last && 'cpu' in last ? [format(last[incoming]), format(last[outgoing])] : ['–', '–'];
  return (
    <section class="panel graph" aria-label={title}>
      <header class="graph-header">
        <h2>{title}</h2>
        <p class="graph-legend">
          <span class="key key-in">in {latestIn}</span>
          <span class="key key-out">out {latestOut}</span>
        </p>
      </header>
      <div class="graph-plot" ref={host} style={{ height: `${HEIGHT}px` }}>
        {failed.value && <p class="muted">The graph could not be loaded. Reload the page to try again.</p>}
      </div>
    </section>
  );
}

/** The history as uPlot wants it, always five minutes wide. */
function table(incoming: Quantity, outgoing: Quantity): uPlot.AlignedData {
  const rows = history.value;
  const newest = rows.at(-1)?.time ?? Date.now();
  const times: number[] = [newest / 1000 - HISTORY_LENGTH + 1];
  const ins: (number | null)[] = [null];
  const outs: (number | null)[] = [null];
  for (const row of rows) {
    if (row.time / 1000 <= (times[0] ?? 0)) continue;
    const rates = 'cpu' in row ? row : undefined;
    times.push(row.time / 1000);
    ins.push(rates?.[incoming] ?? null);
    outs.push(rates?.[outgoing] ?? null);
  }
  return [times, ins, outs];
}
