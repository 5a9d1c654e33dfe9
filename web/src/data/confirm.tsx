import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import { messageOf } from '../bus/error';

interface Props {
  title: string;
  text: string;
  action: string;
  /** Does it; a failure is shown in the dialog. */
  act: () => Promise<void>;
  close: () => void;
}

/** Asks before something is lost. */
export function Confirm({ title, text, action, act, close }: Props): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const error = useSignal('');
  const busy = useSignal(false);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const confirm = async () => {
    busy.value = true;
    try {
      await act();
      close();
    } catch (failure) {
      error.value = messageOf(failure);
      busy.value = false;
    }
  };
  return (
    <dialog class="dialog" ref={dialog} aria-labelledby="confirm-title" onClose={close}>
      <h2 id="confirm-title">{title}</h2>
      <p>{text}</p>
      {error.value !== '' && (
        <p class="notice" role="alert">
          That did not work: {error.value}
        </p>
      )}
      <div class="dialog-buttons">
        <button type="button" class="button" onClick={close}>
          Cancel
        </button>
        <button type="button" class="button button-danger" disabled={busy.value} onClick={() => void confirm()}>
          {action}
        </button>
      </div>
    </dialog>
  );
}
