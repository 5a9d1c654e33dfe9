import { Backoff } from './backoff';
import { timeoutError } from './error';
import { randomId } from './id';
import type { Message } from './message';
import type { Handler, Subscription } from './subscriptions';

/**
 * Where responses come in: one subscription to `<prefix>.<random>.*` for all requests of a client's life, under a
 * prefix that only becomes known at sign-in.
 */
export class Inbox {
  readonly #token = randomId();
  readonly #expecting = new Map<string, Replies>();
  readonly #retry = new Backoff(3900, 1.3, 30_000);
  #prefix: string | undefined;
  #subscription: Subscription | undefined;
  #ready!: Promise<void>;
  #becomeReady!: () => void;

  constructor(private readonly subscribe: (pattern: string, handler: Handler) => Subscription) {
    this.#renew();
  }

  /** The subject all reply subjects of this client begin with. */
  get subject(): string {
    return `${this.#prefix ?? '_INBOX'}.${this.#token}`;
  }

  /** Resolves when responses can come in. */
  get ready(): Promise<void> {
    return this.#ready;
  }

  /** Signed in: makes the subscription, unless it is there already. */
  use(prefix: string): void {
    if (prefix === this.#prefix) return;
    this.#prefix = prefix;
    this.#subscription?.close();
    this.#renew();
    this.#listen(prefix);
  }

  /** Opens a reply subject for up to `maxMessages` responses, `maxWaitMs` apart. */
  expect(maxWaitMs: number, maxMessages = Infinity): Replies {
    const subject = `${this.subject}.${randomId()}`;
    const replies = new Replies(subject, maxWaitMs, maxMessages, () => this.#expecting.delete(subject));
    this.#expecting.set(subject, replies);
    return replies;
  }

  #renew(): void {
    this.#ready = new Promise((resolve) => (this.#becomeReady = resolve));
  }

  #listen(prefix: string): void {
    if (prefix !== this.#prefix) return;
    const subscription = this.subscribe(`${this.subject}.*`, (message) =>
      this.#expecting.get(message.subject)?.push(message),
    );
    this.#subscription = subscription;
    subscription.ready.then(
      () => {
        this.#retry.reset();
        this.#becomeReady();
      },
      () => setTimeout(() => this.#listen(prefix), this.#retry.next()),
    );
  }
}

/** The responses to one request, as they come. */
export class Replies implements AsyncIterable<Message> {
  readonly #arrived: Message[] = [];
  #left: number;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(
    readonly subject: string,
    private readonly maxWaitMs: number,
    maxMessages: number,
    private readonly done: () => void,
  ) {
    this.#left = maxMessages;
  }

  /** Takes one response. */
  push(message: Message): void {
    this.#arrived.push(message);
    this.#wake?.();
  }

  /** Ends the stream with an error, after what has arrived. */
  fail(error: Error): void {
    this.#error = error;
    this.#wake?.();
  }

  /** Yields until enough have arrived or none came for too long. The first one must come. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    let count = 0;
    try {
      while (this.#left > 0) {
        const message = this.#arrived.shift() ?? (await this.#next());
        if (!message) {
          if (count === 0) throw timeoutError(`request (reply to '${this.subject}')`);
          return;
        }
        count++;
        this.#left--;
        yield message;
      }
    } finally {
      this.done();
    }
  }

  #failure(): Error | undefined {
    return this.#error;
  }

  async #next(): Promise<Message | undefined> {
    const failed = this.#failure();
    if (failed) throw failed;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.maxWaitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
    const message = this.#arrived.shift();
    const error = this.#failure();
    if (!message && error) throw error;
    return message;
  }
}
