import { useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import logo from '../assets/logo.svg';
import { Icon } from '../ui/icons';
import { busState, client } from './session';

/** Shown instead of the workbench while the server doesn't let us in. */
export function SignIn(): JSX.Element | null {
  const field = useRef<HTMLInputElement>(null);
  const state = busState.value;
  if (state.phase !== 'signed-out') return null;
  const signIn = (event: Event) => {
    event.preventDefault();
    const token = field.current?.value.trim();
    if (!token) return;
    // The server sets a cookie, and sends us back here without the token; the hash stays.
    location.assign(`${location.pathname}?auth_token=${encodeURIComponent(token)}${location.hash}`);
  };
  return (
    <main class="sign-in">
      <form class="sign-in-card" onSubmit={signIn}>
        <img src={logo} alt="" width="48" height="48" />
        <h1>Sign in to Outpost</h1>
        <p class="muted">{state.error}</p>
        <label for="token">Access token</label>
        <div class="sign-in-field">
          <Icon name="key" />
          <input
            id="token"
            ref={field}
            type="password"
            autocomplete="current-password"
            spellcheck={false}
            autofocus
            required
          />
        </div>
        <button type="submit" class="button button-primary">
          Sign in
        </button>
        <p class="hint">
          <code>outpost token</code> on the server prints it.{' '}
          <button type="button" class="link" onClick={() => client.retryNow()}>
            Try again without
          </button>
        </p>
      </form>
    </main>
  );
}
