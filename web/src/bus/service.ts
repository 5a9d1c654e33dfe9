import type { Client, PublishOptions } from './client';

/** Calls one method of a method-array service: the body is `[method, arguments]`, the response its result. */
export async function call(
  client: Client,
  subject: string,
  method: string,
  args: unknown[] = [],
  options: PublishOptions = {},
): Promise<unknown> {
  return (await client.request(subject, [method, args], options)).data;
}
