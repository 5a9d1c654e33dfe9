import { computed, signal } from '@preact/signals';

/** The views of the workbench. */
export type View = 'status' | 'terminal' | 'connections' | 'flight';

/** Where the page is; `terminal` says which one. */
export interface Route {
  view: View;
  terminal?: number;
}

/** Reads the part of the address after `#`. Anything unknown is the status view. */
export function parseRoute(hash: string): Route {
  const [, view, rest] = /^#?\/?([^/?]*)\/?([^/?]*)/u.exec(hash) ?? [];
  switch (view) {
    case 'connections':
    case 'flight':
      return { view };
    case 'terminal': {
      const number = Number(rest);
      return Number.isInteger(number) && number > 0 && number < 1000 ? { view, terminal: number } : { view };
    }
    default:
      return { view: 'status' };
  }
}

/** The address of a route. */
export function hrefOf({ view, terminal }: Route): string {
  return terminal === undefined ? `#/${view}` : `#/${view}/${terminal}`;
}

const hash = signal(location.hash);
window.addEventListener('hashchange', () => (hash.value = location.hash));

/** The present route. */
export const route = computed(() => parseRoute(hash.value));

/** Goes to a route; with `replace` the one before is left out of the history. */
export function navigate(to: Route, replace = false): void {
  const href = hrefOf(to);
  if (location.hash === href) return;
  if (!replace) {
    location.hash = href;
    return;
  }
  history.replaceState(null, '', `${location.pathname}${location.search}${href}`);
  hash.value = href;
}
