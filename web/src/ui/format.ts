const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A number of bytes for people: three significant digits. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${significant(value, unit === 0)} ${UNITS[unit] ?? ''}`;
}

/** A count for people: `950`, `12.3 k`, `4.56 M`. */
export function formatCount(count: number): string {
  if (count < 9999.5) return significant(count, Number.isInteger(count));
  if (count < 999_500) return `${significant(count / 1000, false)} k`;
  if (count < 999_500_000) return `${significant(count / 1_000_000, false)} M`;
  return `${significant(count / 1_000_000_000, false)} G`;
}

/** A rate per second. */
export function formatRate(rate: number): string {
  return rate === 0 ? '0' : formatCount(rate >= 100 ? Math.round(rate) : rate);
}

/** A time span: its two largest units. */
export function formatSpan(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ');
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hour12: false,
});

/** The time of day to the millisecond. */
export function formatClock(time: number): string {
  return clock.format(time);
}

function significant(value: number, whole: boolean): string {
  if (whole || value >= 99.95) return Math.round(value).toString();
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}
