// Fails when the page grows beyond its budget. Sizes are gzip's, which every browser takes; brotli is smaller.
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

const DIST = new URL('../dist/', import.meta.url).pathname;
const START_LIMIT_KIB = 250;
const TOTAL_LIMIT_KIB = 2048;

const files = readdirSync(DIST, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
const size = (path) => gzipSync(readFileSync(path), { level: 9 }).length / 1024;
const sizes = new Map(files.map((path) => [path.slice(DIST.length), size(path)]));

// What the page loads before it can be used: itself and what it names; the rest is loaded when it is needed.
const html = readFileSync(join(DIST, 'app.html'), 'utf8');
const named = [...html.matchAll(/(?:src|href)="\.\/([^"]+)"/gu)].map(([, path]) => path);
const start = ['app.html', ...named].filter((path) => extname(path) !== '.ico');
const sum = (names) => names.reduce((total, name) => total + (sizes.get(name) ?? 0), 0);

for (const [name, kib] of [...sizes].sort((a, b) => b[1] - a[1])) {
  console.log(`${kib.toFixed(1).padStart(8)} KiB  ${start.includes(name) ? '*' : ' '} ${name}`);
}
const startKib = sum(start);
const totalKib = sum([...sizes.keys()]);
console.log(`${startKib.toFixed(1).padStart(8)} KiB  before the page is usable (*), at most ${START_LIMIT_KIB}`);
console.log(`${totalKib.toFixed(1).padStart(8)} KiB  in all, at most ${TOTAL_LIMIT_KIB}`);
if (startKib > START_LIMIT_KIB || totalKib > TOTAL_LIMIT_KIB) {
  console.error('The page is too big.');
  process.exitCode = 1;
}
