import { computed, effect, signal } from '@preact/signals';

/** What the user chose; `system` follows the operating system. */
export type ThemeChoice = 'system' | 'light' | 'dark';

const KEY = 'outpost.theme';
const systemDark = window.matchMedia('(prefers-color-scheme: dark)');
const systemIsDark = signal(systemDark.matches);
systemDark.addEventListener('change', ({ matches }) => (systemIsDark.value = matches));

/** The choice, kept across visits. `theme.js` reads the same key before the first paint. */
export const themeChoice = signal<ThemeChoice>(readChoice());

/** Is the page dark now? */
export const isDark = computed(() =>
  themeChoice.value === 'system' ? systemIsDark.value : themeChoice.value === 'dark',
);

effect(() => {
  const choice = themeChoice.value;
  const root = document.documentElement;
  if (choice === 'system') delete root.dataset.theme;
  else root.dataset.theme = choice;
  try {
    if (choice === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
});

/** Goes from what is shown to the other; back to `system` when that is what the system wants anyway. */
export function toggleTheme(): void {
  const dark = !isDark.value;
  themeChoice.value = dark === systemIsDark.value ? 'system' : dark ? 'dark' : 'light';
}

function readChoice(): ThemeChoice {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === 'light' || stored === 'dark' ? stored : 'system';
  } catch {
    return 'system';
  }
}
