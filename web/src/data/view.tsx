import type { JSX } from 'preact';
import { hrefOf, route, type DataPlace } from '../app/route';
import { BlobsView } from './blobs';
import { SettingsView } from './settings';
import { StreamView } from './stream';
import { StreamsView } from './streams';
import '../styles/data.css';
import '../styles/settings.css';
import '../styles/value.css';

const SECTIONS: { section: DataPlace['section']; label: string }[] = [
  { section: 'streams', label: 'Streams and stores' },
  { section: 'blobs', label: 'Blobs' },
  { section: 'settings', label: 'Settings' },
];

/** What the server keeps: streams and stores, blobs, settings. */
export function DataView(): JSX.Element {
  const place = route.value.data ?? { section: 'streams' };
  return (
    <main class="page data">
      <nav class="sections" aria-label="Data">
        {SECTIONS.map(({ section, label }) => (
          <a
            key={section}
            class="section-link"
            href={hrefOf({ view: 'data', data: { section } })}
            aria-current={section === place.section ? (place.stream === undefined ? 'page' : 'true') : undefined}
          >
            {label}
          </a>
        ))}
      </nav>
      <Section {...place} />
    </main>
  );
}

function Section({ section, stream, seq }: DataPlace): JSX.Element {
  if (section === 'blobs') return <BlobsView />;
  if (section === 'settings') return <SettingsView />;
  return stream === undefined ? <StreamsView /> : <StreamView key={stream} path={stream} seq={seq} />;
}
