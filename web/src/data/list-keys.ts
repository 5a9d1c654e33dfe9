import { useEffect } from 'preact/hooks';

/** The rows of the list in front: links, of which one can be reached with Tab. */
function rowsOf(): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>('[data-row]')].filter((row) => row.offsetParent !== null);
}

/** Puts the focus on a row, which is then the one that Tab comes back to. */
function focusAt(rows: HTMLElement[], index: number): void {
  const row = rows[Math.min(Math.max(index, 0), rows.length - 1)];
  if (!row) return;
  for (const other of rows) other.tabIndex = other === row ? 0 : -1;
  row.focus();
}

/** Puts the focus on the row of that name, if it is there. */
export function focusRow(name: string): void {
  const rows = rowsOf();
  const index = rows.findIndex(({ dataset }) => dataset.row === name);
  if (index >= 0) focusAt(rows, index);
}

/** The row of a list that has the focus, or had it last. */
function presentIndex(rows: HTMLElement[]): number {
  const focused = rows.findIndex((row) => row === document.activeElement);
  return focused >= 0 ? focused : rows.findIndex((row) => row.tabIndex === 0);
}

/** What keys do outside of fields and widgets that have their own. */
export interface ListActions {
  back?: (() => void) | undefined;
  page?: ((step: number) => void) | undefined;
  remove?: ((row: string) => void) | undefined;
}

/**
 * The keys of a list: `/` goes to the filter, the arrows, Home and End from row to row, Enter opens (rows are links), Page Up
 * and Page Down turn the page, Delete deletes, Escape goes back.
 */
export function useListKeys(actions: ListActions): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
      if (document.querySelector('dialog[open]')) return;
      if (handle(event, actions)) event.preventDefault();
    };
    document.addEventListener('keydown', listen);
    return () => document.removeEventListener('keydown', listen);
  });
}

function handle(event: KeyboardEvent, { back, page, remove }: ListActions): boolean {
  const target = event.target instanceof HTMLElement ? event.target : document.body;
  const rows = rowsOf();
  if (target.matches('input, textarea, select')) {
    const filter = target.matches('[data-filter]');
    if (filter && event.key === 'ArrowDown') focusAt(rows, 0);
    else if (event.key === 'Escape' && filter && (target as HTMLInputElement).value === '')
      focusAt(rows, presentIndex(rows));
    else return false;
    return true;
  }
  if (event.key === '/') {
    const filter = [...document.querySelectorAll<HTMLInputElement>('[data-filter]')].find(
      (it) => it.offsetParent !== null,
    );
    filter?.focus();
    filter?.select();
    return filter !== undefined;
  }
  if (event.key === 'Escape') {
    back?.();
    return back !== undefined;
  }
  // Widgets with arrow keys of their own, and what scrolls, keep them.
  if (target.closest('[data-own-keys]')) return false;
  const index = presentIndex(rows);
  const inList = rows.includes(target);
  switch (event.key) {
    case 'ArrowDown':
      focusAt(rows, inList ? index + 1 : index);
      return rows.length > 0;
    case 'ArrowUp':
      focusAt(rows, inList ? index - 1 : index);
      return rows.length > 0;
    case 'Home':
    case 'End':
      if (!inList) return false;
      focusAt(rows, event.key === 'Home' ? 0 : rows.length - 1);
      return true;
    case 'PageDown':
    case 'PageUp':
      if (!inList || !page) return false;
      page(event.key === 'PageDown' ? 1 : -1);
      return true;
    case 'Delete':
      if (!inList || !remove) return false;
      remove(target.dataset.row ?? '');
      return true;
    default:
      return false;
  }
}
