// Who signs in, as the Cookie header of the WebSocket handshake.

import { createHmac, randomBytes } from 'node:crypto';

/** The cookie that proves knowledge of the access token: `<algorithm>$<salt>$<iterations>$<hex digest>`. */
export function tokenHash(token, salt = randomBytes(16).toString('hex'), iterations = 1000) {
  let text = token;
  for (let round = 0; round < iterations; round++) {
    text = createHmac('sha512', salt).update(text).digest('hex');
  }
  return `sha512$${salt}$${iterations}$${text}`;
}

export const accountCookie = (token) => `cocalc-lite-auth=${encodeURIComponent(tokenHash(token))}`;

export const systemCookie = (password) => `sys=${encodeURIComponent(password)}`;

export const projectCookie = (project, secret) => `project_id=${project}; project_secret=${encodeURIComponent(secret)}`;
