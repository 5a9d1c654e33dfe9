import type { JSX } from 'preact';

interface Props {
  label: string;
  /** From 0 to 1; without it nobody knows how long it takes. */
  value?: number | undefined;
}

/** A bar for what takes longer than a moment; without a value it appears only after one. */
export function Progress({ label, value }: Props): JSX.Element {
  const percent = value === undefined ? undefined : Math.round(Math.min(Math.max(value, 0), 1) * 100);
  return (
    <div
      class="progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
      data-open={percent === undefined}
    >
      <span style={percent === undefined ? undefined : { width: `${percent}%` }} />
    </div>
  );
}
