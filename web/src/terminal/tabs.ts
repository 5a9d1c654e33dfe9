import { computed, effect, signal } from '@preact/signals';
import { load, save } from '../app/storage';
import { route } from '../app/route';

/** The numbers of the open terminals, in the order of their tabs. They survive a reload. */
export const tabs = signal<number[]>(load('terminals', isTabList) ?? [1]);

/** What each tab is called: the program's title, or the directory it is in. */
export const titles = signal<Record<number, string>>({});

const last = signal(tabs.peek()[0] ?? 1);

/** The terminal that was looked at last. */
export const lastTerminal = computed(() => (tabs.value.includes(last.value) ? last.value : (tabs.value[0] ?? 1)));

effect(() => save('terminals', tabs.value));

effect(() => {
  const { view, terminal } = route.value;
  if (view !== 'terminal' || terminal === undefined) return;
  last.value = terminal;
  if (!tabs.peek().includes(terminal)) tabs.value = [...tabs.peek(), terminal];
});

/** The session a tab shows. Everybody who opens the same number sees the same session. */
export function sessionId(tab: number): string {
  return `.outpost-${tab}.term`;
}

/** Opens a tab with the smallest number that is free. */
export function openTab(): number {
  let tab = 1;
  while (tabs.peek().includes(tab)) tab++;
  tabs.value = [...tabs.peek(), tab];
  return tab;
}

/** Closes a tab; says which one to show instead. */
export function closeTab(tab: number): number | undefined {
  const index = tabs.peek().indexOf(tab);
  tabs.value = tabs.peek().filter((other) => other !== tab);
  return tabs.peek()[Math.min(index, tabs.peek().length - 1)];
}

/** Names a tab; an empty title makes it nameless. */
export function setTitle(tab: number, title: string): void {
  if (titles.peek()[tab] !== title) titles.value = { ...titles.peek(), [tab]: title };
}

function isTabList(value: unknown): value is number[] {
  return (
    Array.isArray(value) && value.length < 100 && value.every((tab) => Number.isInteger(tab) && tab > 0 && tab < 1000)
  );
}
