import { useSignal } from '@preact/signals';
import { useMemo, useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import { CHILDREN, firstExpanded, parentOf, rowsOf, type TreeRow } from './tree';

/** A value as a tree: the arrows move and open, Home and End go to the ends, Enter opens and closes. */
export function ValueTree({ value, label }: { value: unknown; label: string }): JSX.Element {
  const expanded = useSignal<ReadonlySet<string>>(useMemo(() => firstExpanded(value), [value]));
  const shown = useSignal<ReadonlyMap<string, number>>(new Map());
  const active = useSignal('');
  const tree = useRef<HTMLDivElement>(null);
  const rows = rowsOf(value, expanded.value, shown.value);
  const activeRow = rows.find(({ id }) => id === active.value) ?? rows[0];

  const focus = (id: string | undefined) => {
    if (id === undefined) return;
    active.value = id;
    // After the next rendering: the row may be about to appear.
    requestAnimationFrame(() => {
      const items = tree.current?.querySelectorAll<HTMLElement>('[role=treeitem]') ?? [];
      [...items].find((item) => item.dataset.id === id)?.focus();
    });
  };
  const toggle = (id: string, open = !expanded.value.has(id)) => {
    const next = new Set(expanded.value);
    if (open) next.add(id);
    else next.delete(id);
    expanded.value = next;
  };
  const more = (id: string) => {
    const parent = parentOf(id) ?? '';
    const next = (shown.value.get(parent) ?? CHILDREN) * 2;
    shown.value = new Map(shown.value).set(parent, next);
  };
  const act = (row: TreeRow) => {
    if (row.kind === 'more') more(row.id);
    else if (row.branch) toggle(row.id);
  };
  const key = (event: KeyboardEvent) => {
    if (!activeRow || event.ctrlKey || event.metaKey || event.altKey) return;
    const index = rows.indexOf(activeRow);
    switch (event.key) {
      case 'ArrowDown':
        focus(rows[index + 1]?.id);
        break;
      case 'ArrowUp':
        focus(rows[index - 1]?.id);
        break;
      case 'Home':
        focus(rows[0]?.id);
        break;
      case 'End':
        focus(rows.at(-1)?.id);
        break;
      case 'ArrowRight':
        if (activeRow.branch && !activeRow.expanded) toggle(activeRow.id, true);
        else if (activeRow.branch) focus(rows[index + 1]?.id);
        break;
      case 'ArrowLeft':
        if (activeRow.expanded) toggle(activeRow.id, false);
        else focus(parentOf(activeRow.id));
        break;
      case 'Enter':
      case ' ':
        act(activeRow);
        break;
      case '*':
        expanded.value = new Set([...expanded.value, ...siblingsOf(rows, activeRow)]);
        break;
      default:
        return;
    }
    event.preventDefault();
  };
  return (
    <div class="tree" role="tree" aria-label={label} data-own-keys ref={tree} onKeyDown={key}>
      {rows.map((row) => (
        <div
          key={row.id}
          class="tree-row mono"
          role="treeitem"
          data-id={row.id}
          data-kind={row.kind}
          aria-level={row.depth + 1}
          aria-posinset={row.position}
          aria-setsize={row.siblings}
          aria-expanded={row.branch ? row.expanded : undefined}
          tabIndex={row === activeRow ? 0 : -1}
          style={{ '--depth': row.depth }}
          onFocus={() => (active.value = row.id)}
          onClick={() => {
            // Marking text with the mouse is not a click.
            if (getSelection()?.isCollapsed ?? true) act(row);
          }}
        >
          {row.label !== undefined && <span class="tree-key">{row.label}</span>}
          <span class="tree-value">{row.expanded && row.kind !== 'string' ? shortened(row) : row.text}</span>
        </div>
      ))}
    </div>
  );
}

/** The content of an open node is below it. */
function shortened({ text }: TreeRow): string {
  return /^[{[]\d+[}\]]/u.exec(text)?.[0] ?? text;
}

function siblingsOf(rows: TreeRow[], row: TreeRow): string[] {
  const parent = parentOf(row.id);
  return rows.filter(({ id, branch }) => branch && parentOf(id) === parent).map(({ id }) => id);
}
