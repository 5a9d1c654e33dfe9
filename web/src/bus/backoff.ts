/** Exponential back-off: `first`, `first·factor`, … up to `limit`, each spread by ±`jitter`. */
export class Backoff {
  #attempt = 0;

  constructor(
    private readonly first: number,
    private readonly factor: number,
    private readonly limit: number,
    private readonly jitter = 0,
  ) {}

  /** How many delays were taken since the last reset. */
  get attempt(): number {
    return this.#attempt;
  }

  /** The next delay in milliseconds. */
  next(): number {
    const delay = Math.min(this.limit, this.first * this.factor ** this.#attempt++);
    return Math.round(delay * (1 + this.jitter * (2 * Math.random() - 1)));
  }

  /** Starts again at `first`. */
  reset(): void {
    this.#attempt = 0;
  }
}

/** Resolves after `ms` milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
