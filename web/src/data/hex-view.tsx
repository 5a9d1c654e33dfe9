import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import { formatBytes } from '../ui/format';
import { hexLines } from './hex';

/** Height of a line; `data.css` has the same. */
const LINE_PX = 20;
/** Lines above and below what is in sight. */
const MARGIN = 8;
/** No browser scrolls further than some 30 million pixels. */
const MAX_LINES = 1_400_000;

/** Bytes and their characters; only the lines in sight are in the page, so any number will do. */
export function HexView({ bytes }: { bytes: Uint8Array }): JSX.Element {
  const view = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const height = useSignal(400);
  const narrow = useSignal(false);
  useLayoutEffect(() => {
    const element = view.current;
    if (!element) return undefined;
    const measure = () => {
      height.value = element.clientHeight;
      narrow.value = element.clientWidth < 600;
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [height, narrow]);
  const width = narrow.value ? 8 : 16;
  const lines = Math.min(Math.ceil(bytes.length / width), MAX_LINES);
  const first = Math.max(0, Math.floor(top.value / LINE_PX) - MARGIN);
  const count = Math.min(Math.ceil(height.value / LINE_PX) + 2 * MARGIN, Math.max(0, lines - first));
  if (bytes.length === 0) return <p class="muted value-none">No bytes.</p>;
  return (
    <>
      <div
        class="hex"
        ref={view}
        tabIndex={0}
        role="region"
        data-own-keys
        aria-label={`Bytes, ${formatBytes(bytes.length)}`}
        onScroll={({ currentTarget }) => (top.value = currentTarget.scrollTop)}
      >
        <div style={{ height: `${lines * LINE_PX}px` }}>
          <div class="hex-lines mono" style={{ transform: `translateY(${first * LINE_PX}px)` }}>
            {hexLines(bytes, width, first, count).map((line) => (
              <div key={line.offset} class="hex-line">
                <span class="hex-offset">{line.offset}</span>
                <span class="hex-bytes">{line.bytes}</span>
                <span class="hex-characters">{line.characters}</span>
              </div>
            ))}
          </div>
        </div>
      </div>
      {bytes.length > lines * width && (
        <p class="muted value-none">The first {formatBytes(lines * width)} are shown; saving it gives all.</p>
      )}
    </>
  );
}
