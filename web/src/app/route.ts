import { computed, signal } from '@preact/signals';

/** The views of the workbench. */
export type View = 'status' | 'terminal' | 'data' | 'connections' | 'flight';

/** Where one is in the data: a list, a stream, a message. */
export interface DataPlace {
  section: 'streams' | 'blobs' | 'settings';
  stream?: string;
  seq?: number;
}

/** Where the page is; `terminal` says which one, `data` what of it. */
export interface Route {
  view: View;
  terminal?: number;
  data?: DataPlace;
}

/** Reads the part of the address after `#`. Anything unknown is the status view. */
export function parseRoute(hash: string): Route {
  const [, path = ''] = /^#?\/?([^?]*)/u.exec(hash) ?? [];
  const [view, ...rest] = path.split('/');
  switch (view) {
    case 'connections':
    case 'flight':
      return { view };
    case 'data':
      return { view, data: parseData(rest) };
    case 'terminal': {
      const number = Number(rest[0]);
      return Number.isInteger(number) && number > 0 && number < 1000 ? { view, terminal: number } : { view };
    }
    default:
      return { view: 'status' };
  }
}

function parseData([section, path, message]: string[]): DataPlace {
  if (section === 'blobs' || section === 'settings') return { section };
  const stream = decoded(path ?? '');
  const seq = Number(message);
  if (section !== 'streams' || stream === '') return { section: 'streams' };
  return Number.isSafeInteger(seq) && seq > 0 ? { section, stream, seq } : { section, stream };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

/** The address of a route. */
export function hrefOf({ view, terminal, data }: Route): string {
  if (terminal !== undefined) return `#/${view}/${terminal}`;
  if (!data || (data.section === 'streams' && data.stream === undefined)) return `#/${view}`;
  const parts = [data.section, data.stream, data.seq].filter((part) => part !== undefined);
  return `#/${view}/${parts.map(encodeURIComponent).join('/')}`;
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
