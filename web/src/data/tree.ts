import { dateText, hexOf, isExtension, shorten, text } from './decode';
import { formatBytes } from '../ui/format';

/** What a node of a value's tree is. */
export type Kind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null' | 'binary' | 'date' | 'other';

/** One line of the tree as it is shown. */
export interface TreeRow {
  /** The path of the node: its keys, each JSON text, so that no key can be taken for two. */
  id: string;
  depth: number;
  label: string | undefined;
  kind: Kind | 'block' | 'more';
  text: string;
  /** Can it be opened? */
  branch: boolean;
  expanded: boolean;
  position: number;
  siblings: number;
}

/** Children shown at first, and more at each asking. */
export const CHILDREN = 100;
/** Strings up to this length are shown in their line. */
const LINE = 120;
/** Of longer ones so much, when opened. */
const BLOCK = 20_000;
/** Bytes of a binary, when opened. */
const BINARY = 512;

/** The lines of `value` with the nodes in `expanded` open; `shown` says how many children, where it isn't {@link CHILDREN}. */
export function rowsOf(
  value: unknown,
  expanded: ReadonlySet<string>,
  shown: ReadonlyMap<string, number> = new Map(),
): TreeRow[] {
  const rows: TreeRow[] = [];
  const visit = (
    id: string,
    depth: number,
    label: string | undefined,
    item: unknown,
    position: number,
    siblings: number,
  ) => {
    const kind = kindOf(item);
    const children = childrenOf(item, kind);
    const block = children ? undefined : blockOf(item, kind);
    const branch = block !== undefined || (children?.length ?? 0) > 0;
    const open = branch && expanded.has(id);
    rows.push({ id, depth, label, kind, text: lineOf(item, kind), branch, expanded: open, position, siblings });
    if (!open) return;
    if (block !== undefined) {
      const line = { label: undefined, kind: 'block' as const, text: block, branch: false, expanded: false };
      rows.push({ ...line, id: `${id}/text`, depth: depth + 1, position: 1, siblings: 1 });
      return;
    }
    const list = children ?? [];
    const limit = shown.get(id) ?? CHILDREN;
    for (const [index, [key, child]] of list.slice(0, limit).entries()) {
      visit(`${id}/${JSON.stringify(key)}`, depth + 1, key, child, index + 1, list.length);
    }
    if (list.length > limit) {
      const left = list.length - limit;
      const line = { label: undefined, kind: 'more' as const, text: `${left} more`, branch: false, expanded: false };
      rows.push({ ...line, id: `${id}/more`, depth: depth + 1, position: limit + 1, siblings: list.length });
    }
  };
  visit('', 0, undefined, value, 1, 1);
  return rows;
}

/** The nodes that are open at first: the root, and what is in it while that is little. */
export function firstExpanded(value: unknown): Set<string> {
  const expanded = new Set(['']);
  const children = childrenOf(value, kindOf(value)) ?? [];
  if (children.length > 12) return expanded;
  for (const [key, child] of children) {
    const inner = childrenOf(child, kindOf(child));
    if (inner && inner.length > 0 && inner.length <= 12) expanded.add(`/${JSON.stringify(key)}`);
  }
  return expanded;
}

/** The node a node is in. */
export function parentOf(id: string): string | undefined {
  if (id === '') return undefined;
  // Keys are JSON text: a slash between quotes belongs to the key.
  let quoted = false;
  let last = 0;
  for (let index = 0; index < id.length; index++) {
    const character = id.charAt(index);
    if (character === '\\' && quoted) index++;
    else if (character === '"') quoted = !quoted;
    else if (character === '/' && !quoted) last = index;
  }
  return id.slice(0, last);
}

function kindOf(value: unknown): Kind {
  switch (typeof value) {
    case 'string':
      return 'string';
    case 'number':
    case 'bigint':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return 'array';
      if (value instanceof Uint8Array) return 'binary';
      if (value instanceof Date) return 'date';
      return isExtension(value) ? 'other' : 'object';
    default:
      return 'null';
  }
}

function childrenOf(value: unknown, kind: Kind): [string, unknown][] | undefined {
  if (kind === 'object' || kind === 'array') return Object.entries(value as object);
  return undefined;
}

function blockOf(value: unknown, kind: Kind): string | undefined {
  if (kind === 'string') {
    const string = value as string;
    if (string.length <= LINE && !string.includes('\n')) return undefined;
    return string.length > BLOCK ? `${string.slice(0, BLOCK)}\n… ${string.length - BLOCK} more characters` : string;
  }
  const bytes =
    kind === 'binary' ? (value as Uint8Array) : kind === 'other' ? (value as { data: Uint8Array }).data : undefined;
  if (!bytes || bytes.length === 0) return undefined;
  const lines: string[] = [];
  for (let start = 0; start < Math.min(bytes.length, BINARY); start += 16) {
    lines.push(hexOf(bytes.subarray(start, Math.min(start + 16, BINARY))));
  }
  if (bytes.length > BINARY) lines.push(`… ${formatBytes(bytes.length - BINARY)} more`);
  return lines.join('\n');
}

function lineOf(value: unknown, kind: Kind): string {
  switch (kind) {
    case 'object':
      return `{${Object.keys(value as object).length}} ${text(value, 80)}`;
    case 'array':
      return `[${(value as unknown[]).length}] ${text(value, 80)}`;
    case 'string': {
      const string = value as string;
      return JSON.stringify(shorten(string, LINE));
    }
    case 'binary': {
      const bytes = value as Uint8Array;
      return `${formatBytes(bytes.length)} binary${bytes.length > 0 ? `  ${hexOf(bytes.subarray(0, 8))}${bytes.length > 8 ? ' …' : ''}` : ''}`;
    }
    case 'date':
      return dateText(value as Date);
    case 'other': {
      const { type, data } = value as { type: number; data: Uint8Array };
      return `extension ${type}, ${formatBytes(data.length)}`;
    }
    case 'null':
      return 'null';
    default:
      return text(value);
  }
}
