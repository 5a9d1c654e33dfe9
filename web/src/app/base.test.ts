import { beforeAll, expect, test, vi } from 'vitest';
import { basePath, busUrl } from './base';

test.each([
  ['/static/app.html', ''],
  ['/x/static/app.html', '/x'],
  ['/static/static/app.html', '/static'],
  ['/app.html', ''],
])('the base path of %s is %j', (path, base) => expect(basePath(path)).toBe(base));

test('the bus is beside the page, encrypted if the page is', () => {
  const at = (protocol: string, pathname: string) => busUrl({ protocol, host: 'h:1', pathname });
  expect(at('http:', '/static/app.html')).toBe('ws://h:1/conat/?EIO=4&transport=websocket');
  expect(at('https:', '/x/static/app.html')).toBe('wss://h:1/x/conat/?EIO=4&transport=websocket');
});

let parseRoute: typeof import('./route').parseRoute;
let hrefOf: typeof import('./route').hrefOf;

beforeAll(async () => {
  vi.stubGlobal('location', { hash: '' });
  vi.stubGlobal('window', { addEventListener: () => undefined });
  ({ parseRoute, hrefOf } = await import('./route'));
});

test('routes are read from the hash, whatever it is', () => {
  expect(parseRoute('#/status')).toEqual({ view: 'status' });
  expect(parseRoute('')).toEqual({ view: 'status' });
  expect(parseRoute('#/terminal/2')).toEqual({ view: 'terminal', terminal: 2 });
  expect(parseRoute('#/terminal')).toEqual({ view: 'terminal' });
  expect(parseRoute('#/terminal/-1')).toEqual({ view: 'terminal' });
  expect(parseRoute('#/terminal/1e9')).toEqual({ view: 'terminal' });
  expect(parseRoute('#/flight?x')).toEqual({ view: 'flight' });
  expect(parseRoute('#projects/../../x')).toEqual({ view: 'status' });
  expect(hrefOf({ view: 'terminal', terminal: 2 })).toBe('#/terminal/2');
});

test('a stream and a message have addresses of their own, whatever they are called', () => {
  const path = 'accounts/x/a b:"{%}"#?/é';
  const place = { section: 'streams', stream: path, seq: 7 } as const;
  expect(parseRoute(hrefOf({ view: 'data', data: place }))).toEqual({ view: 'data', data: place });
  expect(parseRoute('#/data')).toEqual({ view: 'data', data: { section: 'streams' } });
  expect(parseRoute('#/data/blobs')).toEqual({ view: 'data', data: { section: 'blobs' } });
  expect(parseRoute('#/data/streams/a%2Fb/x')).toEqual({ view: 'data', data: { section: 'streams', stream: 'a/b' } });
  expect(parseRoute('#/data/streams/%E0%A4%A')).toEqual({ view: 'data', data: { section: 'streams' } });
  expect(hrefOf({ view: 'data', data: { section: 'streams' } })).toBe('#/data');
  expect(hrefOf({ view: 'data', data: { section: 'settings' } })).toBe('#/data/settings');
});
