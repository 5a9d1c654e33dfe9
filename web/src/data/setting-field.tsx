import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { JSX } from 'preact';
import { messageOf } from '../bus/error';
import { isOn, refusalOf, type SettingKind } from './settings-table';

interface Props {
  name: string;
  label: string;
  kind: SettingKind;
  hint?: string;
  stored: string | undefined;
  /** What holds while nothing is stored. */
  placeholder?: string;
  options?: string[];
  save: (name: string, value: string) => Promise<void>;
}

type State = { phase: 'idle' | 'saving' | 'saved' } | { phase: 'failed'; error: string };

/** How long "Saved" stands there. */
const SAVED_MS = 4000;

/** One setting; it is saved when one leaves it, or switches it. */
export function SettingField(props: Props): JSX.Element {
  const { name, label, kind, hint, stored, placeholder = '', options, save } = props;
  const draft = useSignal<string | undefined>(undefined);
  const state = useSignal<State>({ phase: 'idle' });
  const visible = useSignal(false);
  useEffect(() => {
    if (state.value.phase !== 'saved') return undefined;
    const timer = setTimeout(() => (state.value = { phase: 'idle' }), SAVED_MS);
    return () => clearTimeout(timer);
  }, [state.value, state]);

  const commit = async (value: string) => {
    if (value === (stored ?? '') && state.value.phase !== 'failed') {
      draft.value = undefined;
      return;
    }
    const refusal = refusalOf(kind, value);
    if (refusal !== undefined) {
      state.value = { phase: 'failed', error: refusal };
      return;
    }
    state.value = { phase: 'saving' };
    try {
      await save(name, value);
      // What was typed meanwhile is kept.
      if (draft.value === value) draft.value = undefined;
      state.value = { phase: 'saved' };
    } catch (error) {
      state.value = { phase: 'failed', error: messageOf(error) };
    }
  };
  const id = `setting-${name}`;
  const failed = state.value.phase === 'failed' ? state.value.error : undefined;
  const described = failed === undefined ? (hint === undefined ? undefined : `${id}-hint`) : `${id}-error`;
  const common = {
    id,
    name,
    'aria-describedby': described,
    'aria-invalid': failed === undefined ? undefined : ('true' as const),
    autocomplete: 'off' as const,
    spellcheck: false,
  };
  const value = draft.value ?? stored ?? '';
  const status = (
    <span class="setting-state" role="status" data-phase={state.value.phase}>
      {TEXT[state.value.phase]}
    </span>
  );
  if (kind === 'bool') {
    return (
      <div class="setting setting-switch">
        <label class="check">
          <input
            {...common}
            type="checkbox"
            checked={isOn(name, draft.value ?? stored)}
            onChange={({ currentTarget }) => {
              draft.value = currentTarget.checked ? 'yes' : 'no';
              void commit(draft.value);
            }}
          />
          {label}
        </label>
        {status}
        <Failed id={id} error={failed} />
      </div>
    );
  }
  const input = (event: { currentTarget: HTMLInputElement | HTMLTextAreaElement }) => {
    draft.value = event.currentTarget.value;
    if (state.value.phase !== 'saving') state.value = { phase: 'idle' };
  };
  const leave = () => {
    if (draft.value !== undefined) void commit(draft.value);
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && !(event.currentTarget instanceof HTMLTextAreaElement)) leave();
    if (event.key === 'Escape' && draft.value !== undefined) {
      event.preventDefault();
      draft.value = undefined;
      state.value = { phase: 'idle' };
    }
  };
  const control = () => {
    const line = { ...common, placeholder, value, onInput: input, onBlur: leave, onKeyDown: key };
    if (kind === 'json') return <textarea {...line} rows={3} />;
    if (kind === 'secret' && !visible.value) return <input {...line} type="password" autocomplete="new-password" />;
    if (options) return <input {...line} type="text" list={`${id}-options`} />;
    return (
      <input {...line} type="text" inputMode={kind === 'int' ? 'numeric' : kind === 'float' ? 'decimal' : 'text'} />
    );
  };
  return (
    <div class="setting">
      <label for={id}>{label}</label>
      {status}
      <div class="setting-input">
        {control()}
        {kind === 'secret' && (
          <button
            type="button"
            class="button"
            aria-pressed={visible.value}
            aria-label={`Show ${label}`}
            onClick={() => (visible.value = !visible.value)}
          >
            {visible.value ? 'Hide' : 'Show'}
          </button>
        )}
      </div>
      {options && (
        <datalist id={`${id}-options`}>
          {options.map((option) => (
            <option key={option} value={option} />
          ))}
        </datalist>
      )}
      {hint !== undefined && (
        <p class="setting-hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      <Failed id={id} error={failed} />
    </div>
  );
}

const TEXT: Record<State['phase'], string> = { idle: '', saving: 'Saving…', saved: 'Saved', failed: 'Not saved' };

function Failed({ id, error }: { id: string; error: string | undefined }): JSX.Element | null {
  if (error === undefined) return null;
  return (
    <p class="setting-error" role="alert" id={`${id}-error`}>
      {error}
    </p>
  );
}
