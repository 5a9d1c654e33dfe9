import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { Empty } from '../ui/empty';
import { Icon } from '../ui/icons';
import { Progress } from '../ui/progress';
import { useListKeys } from './list-keys';
import { useLoaded } from './load';
import { SettingField } from './setting-field';
import { readSettings, writeSetting, type Settings } from './settings-store';
import { SETTINGS, VENDORS, wordsOf, type Setting } from './settings-table';
import { Failure } from './streams';

/** Settings that have a place of their own in the form. */
const FEATURED = new Set<string>([
  'site_name',
  'site_description',
  'help_email',
  'default_llm',
  ...VENDORS.flatMap(({ key, enabled }) => [key, enabled]),
]);

/** The settings of the hub: names, keys of language models, and everything else. */
export function SettingsView(): JSX.Element {
  const { value, busy, error, reload } = useLoaded('settings', readSettings, Infinity);
  useListKeys({});
  return (
    <>
      <header class="page-header">
        <h1>Settings</h1>
        <p class="muted">Each is saved when you leave it, and holds at once.</p>
      </header>
      {error !== '' && <Failure what="The settings" error={error} retry={reload} />}
      {busy && <Progress label="Loading settings" />}
      {value && <Form settings={value} reload={reload} />}
    </>
  );
}

function Form({ settings, reload }: { settings: Settings; reload: () => void }): JSX.Element {
  const { stored, effective } = settings;
  const save = async (name: string, value: string) => {
    await writeSetting(name, value);
    // As in every client of these settings, a vendor is on when it has a key.
    const vendor = VENDORS.find(({ key }) => key === name);
    if (vendor && (value === '') !== ((stored[name] ?? '') === '')) {
      await writeSetting(vendor.enabled, value === '' ? 'no' : 'yes');
    }
    reload();
  };
  const field = (
    name: string,
    label: string,
    kind: Setting['kind'],
    more: { hint?: string; options?: string[] } = {},
  ) => (
    <SettingField
      key={name}
      name={name}
      label={label}
      kind={kind}
      stored={stored[name]}
      placeholder={placeholderOf(effective[name])}
      save={save}
      {...more}
    />
  );
  const models = Array.isArray(effective.selectable_llms) ? effective.selectable_llms.map(String) : [];
  return (
    <form class="settings" onSubmit={(event) => event.preventDefault()}>
      <fieldset class="panel">
        <legend>Site</legend>
        {field('site_name', 'Name', 'text')}
        {field('site_description', 'Description', 'text')}
        {field('help_email', 'Help email', 'text', { hint: 'Where people write to when they need help.' })}
      </fieldset>
      <fieldset class="panel">
        <legend>Language models</legend>
        {VENDORS.map(({ label, key, enabled }) => (
          <div key={key} class="vendor">
            {field(key, `${label} API key`, 'secret')}
            {field(enabled, `Offer ${label}’s models`, 'bool')}
          </div>
        ))}
        {field('default_llm', 'Default model', 'text', { options: models })}
      </fieldset>
      <AllSettings field={field} />
    </form>
  );
}

interface AllProps {
  field: (name: string, label: string, kind: Setting['kind'], more?: { hint?: string }) => JSX.Element;
}

function AllSettings({ field }: AllProps): JSX.Element {
  const filter = useSignal('');
  const words = filter.value.toLowerCase().split(/\s+/u).filter(Boolean);
  const found = SETTINGS.filter(({ name }) => {
    const text = `${name} ${wordsOf(name)}`.toLowerCase();
    return !FEATURED.has(name) && words.every((word) => text.includes(word));
  });
  return (
    <fieldset class="panel settings-all">
      <legend>All settings</legend>
      <div class="toolbar" role="search">
        <label class="field">
          <Icon name="search" />
          <span class="visually-hidden">Search settings</span>
          <input
            type="search"
            data-filter
            placeholder="Search settings  ( / )"
            value={filter.value}
            spellcheck={false}
            autocapitalize="off"
            onInput={({ currentTarget }) => (filter.value = currentTarget.value)}
          />
        </label>
        <p class="toolbar-count muted" role="status">
          {found.length}
        </p>
      </div>
      {found.length === 0 && <Empty title="No setting has this in its name." />}
      <div class="settings-grid">{found.map(({ name, kind }) => field(name, wordsOf(name), kind, { hint: name }))}</div>
    </fieldset>
  );
}

/** What holds while nothing is stored, if the server tells. */
function placeholderOf(effective: unknown): string {
  if (typeof effective === 'string') return effective;
  if (typeof effective === 'number') return String(effective);
  if (Array.isArray(effective)) return effective.join(', ');
  return typeof effective === 'object' && effective !== null ? JSON.stringify(effective) : '';
}
