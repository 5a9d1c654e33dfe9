/**
 * Anything that went wrong on the bus. `code` is the protocol's: 403 refused, 408 no answer in time, 429 too many,
 * 503 nobody listens, or a word such as `EPIPE` from a virtual socket or a service.
 */
export class BusError extends Error {
  readonly code: number | string | undefined;
  readonly attributes: Record<string, unknown>;

  constructor(message: string, code?: number | string, attributes: Record<string, unknown> = {}) {
    super(message);
    this.name = 'BusError';
    this.code = code;
    this.attributes = attributes;
  }
}

/** The connection went away while an operation waited for its acknowledgement. */
export class DisconnectedError extends BusError {
  constructor(operation: string) {
    super(`${operation} - disconnected`);
    this.name = 'DisconnectedError';
  }
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The error of a timed-out operation, in the words that peers look for. */
export function timeoutError(operation: string): BusError {
  return new BusError(`timeout - ${operation}: operation has timed out`, 408);
}
