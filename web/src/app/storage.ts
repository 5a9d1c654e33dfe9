/** What is kept in the browser between visits. A browser that forbids it only makes us forgetful. */
export function load<T>(key: string, valid: (value: unknown) => value is T): T | undefined {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(`outpost.${key}`) ?? 'null');
    return valid(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps `value`; see {@link load}. */
export function save(key: string, value: unknown): void {
  try {
    localStorage.setItem(`outpost.${key}`, JSON.stringify(value));
  } catch {
    // See above.
  }
}
