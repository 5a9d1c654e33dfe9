/** The size of a terminal in characters. */
export interface Size {
  rows: number;
  cols: number;
}

/** Is this a size a terminal can have? */
export function isSize(value: unknown): value is Size {
  if (typeof value !== 'object' || value === null) return false;
  const { rows, cols } = value as Record<string, unknown>;
  return Number.isInteger(rows) && Number.isInteger(cols) && (rows as number) > 0 && (cols as number) > 0;
}

/** The size that fits everybody who looks at the same terminal. */
export function commonSize(sizes: unknown, own: Size | null): Size | null {
  const known = Array.isArray(sizes) ? (sizes as unknown[]).filter(isSize) : [];
  if (own) known.push(own);
  if (known.length === 0) return null;
  return {
    rows: Math.min(...known.map(({ rows }) => rows)),
    cols: Math.min(...known.map(({ cols }) => cols)),
  };
}
