/** What a client has received since it last connected. */
export interface Received {
  messages: number;
  bytes: number;
}

const REPORT_INTERVAL_MS = 45_000;

/** Tells the server now and then, if something changed, how much has arrived here. */
export class ReceiveStatistics {
  #received: Received = { messages: 0, bytes: 0 };
  #reported = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly report: (received: Received) => void) {}

  /** A new connection: counts from zero. */
  start(): void {
    this.stop();
    this.#received = { messages: 0, bytes: 0 };
    this.#reported = 0;
    this.#timer = setInterval(() => this.#tell(), REPORT_INTERVAL_MS);
  }

  /** No connection. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** One message arrived. */
  count(bytes: number): void {
    this.#received.messages++;
    this.#received.bytes += bytes;
  }

  #tell(): void {
    if (this.#received.messages === this.#reported) return;
    this.#reported = this.#received.messages;
    this.report({ ...this.#received });
  }
}
