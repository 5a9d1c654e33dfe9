import { call } from '../bus/service';
import { accountId, client } from './session';

/** Calls a method of the server's own service. */
export function callOutpost(method: string, ...args: unknown[]): Promise<unknown> {
  return call(client, `outpost.account-${accountId.value ?? ''}.api`, method, args, { timeoutMs: 10_000 });
}
