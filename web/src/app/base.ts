/** The path everything of the server is under: what comes before the last `/static` in the page's own path. */
export function basePath(pathname: string): string {
  const end = pathname.lastIndexOf('/static');
  return end < 0 ? '' : pathname.slice(0, end);
}

/** The address of the bus for a page at `location`. */
export function busUrl({ protocol, host, pathname }: { protocol: string; host: string; pathname: string }): string {
  const scheme = protocol === 'https:' ? 'wss' : 'ws';
  return `${scheme}://${host}${basePath(pathname)}/conat/?EIO=4&transport=websocket`;
}
