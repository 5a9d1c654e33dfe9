import { useSignal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import type { JSX } from 'preact';
import { messageOf } from '../bus/error';
import { copyText } from '../ui/clipboard';
import { formatBytes } from '../ui/format';
import { Icon } from '../ui/icons';
import { Progress } from '../ui/progress';
import { saveFile } from '../ui/save-file';
import { wholeValue, type DataMessage } from './api';
import { decodeValue, toJson } from './decode';
import { HexView } from './hex-view';
import { ValueTree } from './value-tree';

type Tab = 'tree' | 'hex';

const TABS: { tab: Tab; label: string }[] = [
  { tab: 'tree', label: 'Tree' },
  { tab: 'hex', label: 'Hex' },
];

/** A message's value: as a tree, as bytes, as a file. Large ones are fetched when asked for. */
export function ValueView({ path, message }: { path: string; message: DataMessage }): JSX.Element {
  const raw = useSignal(message.raw);
  const loading = useSignal<number | undefined>(undefined);
  const said = useSignal('');
  const chosen = useSignal<Tab | undefined>(undefined);
  const whole = raw.value.length >= message.size;
  const decoded = useMemo(
    () => (whole ? decodeValue(message.encoding, raw.value) : undefined),
    [whole, raw.value, message.encoding],
  );
  const tab = chosen.value ?? (decoded && !decoded.ok ? 'hex' : 'tree');

  const fetchAll = async (): Promise<Uint8Array | undefined> => {
    if (raw.peek().length >= message.size) return raw.peek();
    loading.value = 0;
    try {
      raw.value = await wholeValue(path, message, (bytes) => (loading.value = bytes / message.size));
      return raw.peek();
    } catch (error) {
      said.value = `It can’t be fetched: ${messageOf(error)}`;
      return undefined;
    } finally {
      loading.value = undefined;
    }
  };
  const copy = async () => {
    if (!decoded?.ok) return;
    said.value = (await copyText(toJson(decoded.value))) ? 'Copied as JSON' : 'The browser does not allow copying';
  };
  const download = async () => {
    const bytes = await fetchAll();
    if (bytes) saveFile(fileName(path, message), new Blob([new Uint8Array(bytes)]));
  };
  const incomplete = (
    <div class="value-large">
      <p>
        {formatBytes(raw.value.length)} of {formatBytes(message.size)} are here.
      </p>
      <button type="button" class="button" disabled={loading.value !== undefined} onClick={() => void fetchAll()}>
        Load all of it
      </button>
    </div>
  );
  return (
    <div class="value">
      <div class="value-bar">
        <div class="tabs-plain" role="tablist" aria-label="Value" data-own-keys onKeyDown={tabKey}>
          {TABS.map(({ tab: name, label }) => (
            <button
              key={name}
              type="button"
              role="tab"
              id={`value-tab-${name}`}
              aria-selected={name === tab}
              aria-controls="value-panel"
              tabIndex={name === tab ? 0 : -1}
              onClick={() => (chosen.value = name)}
            >
              {label}
            </button>
          ))}
        </div>
        <span class="value-said muted" role="status">
          {said.value}
        </span>
        <button
          type="button"
          class="button button-small"
          disabled={!decoded?.ok}
          title="Copy as JSON"
          onClick={() => void copy()}
        >
          <Icon name="copy" /> Copy
        </button>
        <button
          type="button"
          class="button button-small"
          disabled={loading.value !== undefined}
          title="Save the bytes as they are stored"
          onClick={() => void download()}
        >
          <Icon name="download" /> Save
        </button>
      </div>
      {loading.value !== undefined && <Progress label="Loading the value" value={loading.value} />}
      <div id="value-panel" role="tabpanel" aria-labelledby={`value-tab-${tab}`}>
        {!whole && incomplete}
        {tab === 'hex' && <HexView bytes={raw.value} />}
        {tab === 'tree' && decoded?.ok && <ValueTree value={decoded.value} label="Value" />}
        {tab === 'tree' && decoded && !decoded.ok && <p class="notice">{decoded.error}</p>}
      </div>
    </div>
  );
}

/** Arrow keys go from tab to tab, and show it. */
function tabKey(event: KeyboardEvent): void {
  if (event.key !== 'ArrowRight' && event.key !== 'ArrowLeft') return;
  if (!(event.currentTarget instanceof HTMLElement)) return;
  event.preventDefault();
  const tabs = [...event.currentTarget.querySelectorAll<HTMLElement>('[role=tab]')];
  const other = tabs.find((tab) => tab.getAttribute('aria-selected') !== 'true');
  other?.click();
  other?.focus();
}

function fileName(path: string, { seq, encoding }: DataMessage): string {
  const name =
    path
      .split('/')
      .at(-1)
      ?.replace(/[^\w.-]+/gu, '_') ?? 'value';
  return `${name}-${seq}.${encoding === 1 ? 'json' : 'msgpack'}`;
}
