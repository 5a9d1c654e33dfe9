import type { JSX } from 'preact';

/** Line drawings on a 20 × 20 grid, in the colour of the text around them. */
const PATHS = {
  status: 'M2.5 11h3l2.5-6 4 11 2.5-5h3',
  terminal: 'M3 4.5h14v11H3zM6 8l2.5 2L6 12M10.5 12.5H14',
  connections:
    'M10 10h.01M6.8 13.2a4.5 4.5 0 0 1 0-6.4M13.2 6.8a4.5 4.5 0 0 1 0 6.4M4.3 15.7a8 8 0 0 1 0-11.4M15.7 4.3a8 8 0 0 1 0 11.4',
  flight: 'M4 5h12M4 10h12M4 15h7M15 13.2v3.6M13.2 15h3.6',
  data: 'M4 5.5c0-1.4 2.7-2.5 6-2.5s6 1.1 6 2.5-2.7 2.5-6 2.5-6-1.1-6-2.5v9C4 15.9 6.7 17 10 17s6-1.1 6-2.5v-9M4 10c0 1.4 2.7 2.5 6 2.5s6-1.1 6-2.5',
  sun: 'M10 6.8a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4M10 2v1.8M10 16.2V18M2 10h1.8M16.2 10H18M4.4 4.4l1.2 1.2M14.4 14.4l1.2 1.2M15.6 4.4l-1.2 1.2M5.6 14.4l-1.2 1.2',
  moon: 'M16.5 11.8A6.8 6.8 0 0 1 8.2 3.5a6.8 6.8 0 1 0 8.3 8.3',
  plus: 'M10 4.5v11M4.5 10h11',
  close: 'M5.5 5.5l9 9M14.5 5.5l-9 9',
  retry: 'M16 10a6 6 0 1 1-1.8-4.3M16 3.5v3.2h-3.2',
  pause: 'M7 5v10M13 5v10',
  play: 'M6.5 4.5 15 10l-8.5 5.5z',
  download: 'M10 3.5v9M6.2 9 10 12.8 13.8 9M4 16.5h12',
  upload: 'M10 12.5v-9M6.2 7 10 3.2 13.8 7M4 16.5h12',
  trash: 'M4 5.8h12M8 5.5v-2h4v2M5.5 6l.8 10.5h7.4L14.5 6M8.4 9v4.5M11.6 9v4.5',
  back: 'M11.5 4.5 6 10l5.5 5.5',
  next: 'M8.5 4.5 14 10l-5.5 5.5',
  copy: 'M7.5 7.5h8v8h-8zM4.5 12.5v-8h8',
  paste: 'M6.5 4.5h-2v12h11v-12h-2M7.5 3h5v3h-5z',
  search: 'M9 3.8a5.2 5.2 0 1 0 0 10.4A5.2 5.2 0 0 0 9 3.8M13 13l3.5 3.5',
  kick: 'M8 5.2a2.4 2.4 0 1 0 0 4.8 2.4 2.4 0 0 0 0-4.8M3.5 15.5c.4-2.4 2.2-3.8 4.5-3.8 1.2 0 2.3.4 3.1 1.1M12.5 13.5l4 4M16.5 13.5l-4 4',
  more: 'M4.5 10h.01M10 10h.01M15.5 10h.01',
  key: 'M6.5 6.8a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4M9.7 10H18v3M14.5 10v2.4',
} as const;

/** The name of an icon. */
export type IconName = keyof typeof PATHS;

/** An icon; purely decorative, so its button needs a label of its own. */
export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
