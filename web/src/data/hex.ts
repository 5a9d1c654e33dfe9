/** One line of a hex dump. */
export interface HexLine {
  offset: string;
  bytes: string;
  characters: string;
}

/** Lines of a dump of `bytes` with `width` bytes each, from line `first` on, `count` of them. */
export function hexLines(bytes: Uint8Array, width: number, first: number, count: number): HexLine[] {
  const lines: HexLine[] = [];
  for (let line = first; line < first + count && line * width < bytes.length; line++) {
    const start = line * width;
    const part = bytes.subarray(start, start + width);
    const half = width / 2;
    const pairs = Array.from(part, (byte) => byte.toString(16).padStart(2, '0'));
    const text = [pairs.slice(0, half).join(' '), pairs.slice(half).join(' ')].join('  ');
    lines.push({
      offset: start.toString(16).padStart(8, '0'),
      bytes: text.padEnd(width * 3),
      characters: Array.from(part, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '·')).join(''),
    });
  }
  return lines;
}
