import type { Signal } from '@preact/signals';
import type { JSX } from 'preact';
import { Icon } from '../ui/icons';
import type { Query } from './api';

/** Rows of a page of any list. */
export const PAGE_ROWS = 50;

interface FilterProps {
  query: Signal<Query>;
  label: string;
  disabled?: boolean;
}

/** The field above a list; `/` leads to it. */
export function FilterField({ query, label, disabled = false }: FilterProps): JSX.Element {
  return (
    <label class="field">
      <Icon name="search" />
      <span class="visually-hidden">{label}</span>
      <input
        type="search"
        data-filter
        placeholder={`${label}  ( / )`}
        value={query.value.filter}
        disabled={disabled}
        spellcheck={false}
        autocapitalize="off"
        onInput={({ currentTarget }) => (query.value = { ...query.value, filter: currentTarget.value, offset: 0 })}
      />
    </label>
  );
}

/** A column that the server can sort by. */
export interface Column {
  sort: string;
  label: string;
  numeric?: boolean;
  class?: string;
}

/** A column's heading; pressing it sorts, pressing it again turns the order round. */
export function SortHeading({ query, column }: { query: Signal<Query>; column: Column }): JSX.Element {
  const { sort, label, numeric = false } = column;
  const sorted = query.value.sort === sort;
  const { descending } = query.value;
  const choose = () => (query.value = { ...query.value, sort, descending: sorted ? !descending : numeric, offset: 0 });
  return (
    <th
      scope="col"
      class={`${numeric ? 'numeric' : ''} ${column.class ?? ''}`}
      aria-sort={sorted ? (descending ? 'descending' : 'ascending') : 'none'}
    >
      <button type="button" class="sort" onClick={choose}>
        {label}
      </button>
    </th>
  );
}

/** Turns the page of a list, if there is one to turn to. */
export function turnPage(query: Signal<Query>, total: number, step: number): void {
  const { offset, limit } = query.value;
  const next = Math.max(0, offset + step * limit);
  if (next < total && next !== offset) query.value = { ...query.value, offset: next };
}

/** Where one is in a long list, and the way to its other pages. */
export function Pager({ query, total }: { query: Signal<Query>; total: number }): JSX.Element | null {
  const { offset, limit } = query.value;
  if (total <= limit && offset === 0) return null;
  const last = Math.max(0, Math.floor((total - 1) / limit) * limit);
  const go = (to: number) => (query.value = { ...query.value, offset: to });
  return (
    <nav class="pager" aria-label="Pages">
      <button type="button" class="button button-small" disabled={offset === 0} onClick={() => go(0)}>
        First
      </button>
      <button
        type="button"
        class="button button-small"
        disabled={offset === 0}
        onClick={() => turnPage(query, total, -1)}
      >
        <Icon name="back" /> Previous
      </button>
      <span class="pager-place">
        {Math.min(offset + 1, total).toLocaleString()}–{Math.min(offset + limit, total).toLocaleString()} of{' '}
        {total.toLocaleString()}
      </span>
      <button
        type="button"
        class="button button-small"
        disabled={offset >= last}
        onClick={() => turnPage(query, total, 1)}
      >
        Next <Icon name="next" />
      </button>
      <button type="button" class="button button-small" disabled={offset >= last} onClick={() => go(last)}>
        Last
      </button>
    </nav>
  );
}

const stamp = new Intl.DateTimeFormat(undefined, {
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
});

/** A moment, with its full precision for who points at it. */
export function Time({ ms }: { ms: number }): JSX.Element {
  const date = new Date(ms);
  if (ms <= 0 || Number.isNaN(date.getTime())) return <span class="muted">–</span>;
  const iso = date.toISOString();
  return (
    <time dateTime={iso} title={iso}>
      {stamp.format(date)}
    </time>
  );
}
