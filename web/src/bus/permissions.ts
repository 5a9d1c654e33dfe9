import { BusError } from './error';

/** Publishing or subscribing. */
export type Direction = 'pub' | 'sub';

/** A refusal is remembered this long; meanwhile the same operation fails without asking the server. */
const MEMORY_MS = 60_000;

/** What the server refused lately. */
export class Refusals {
  readonly #refused = new Map<string, { until: number; message: string }>();

  /** Remembers the argument of a `permission` event. */
  note(argument: unknown): void {
    if (typeof argument !== 'object' || argument === null) return;
    const { type, subject, message } = argument as Record<string, unknown>;
    if (typeof subject !== 'string' || (type !== 'pub' && type !== 'sub')) return;
    const now = Date.now();
    for (const [key, { until }] of this.#refused) if (until <= now) this.#refused.delete(key);
    const text = typeof message === 'string' ? message : 'permission denied';
    this.#refused.set(`${type} ${subject}`, { until: now + MEMORY_MS, message: text });
  }

  /** Throws if the operation was refused within the last minute. */
  check(direction: Direction, subject: string): void {
    const refused = this.#refused.get(`${direction} ${subject}`);
    if (refused && refused.until > Date.now()) throw new BusError(refused.message, 403, { subject });
  }

  /** A new session may be somebody else's. */
  clear(): void {
    this.#refused.clear();
  }
}
