const QUIET_MS = 10_000;
const PAUSE_MS = 5_000;

/** Notices when somebody types and nothing comes back: after ten seconds, and then at most every five. */
export class OutputProbe {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastProbe = -Infinity;

  constructor(private readonly probe: () => void) {}

  /** Something was typed. */
  input(): void {
    if (this.#timer !== undefined) return;
    const earliest = this.#lastProbe + PAUSE_MS - Date.now();
    this.#timer = setTimeout(() => this.#fire(), Math.max(QUIET_MS, earliest));
  }

  /** Something came back. */
  output(): void {
    this.stop();
  }

  /** Nothing is expected any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #fire(): void {
    this.#timer = undefined;
    this.#lastProbe = Date.now();
    this.probe();
  }
}
