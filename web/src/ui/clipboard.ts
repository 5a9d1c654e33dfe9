/** Copies text. Without a secure context there is no clipboard API; then the old way is tried. */
export async function copyText(text: string): Promise<boolean> {
  // `navigator.clipboard` is missing on plain HTTP, whatever the types say.
  const clipboard = navigator.clipboard as Clipboard | undefined;
  try {
    if (clipboard) {
      await clipboard.writeText(text);
      return true;
    }
  } catch {
    // Not allowed; the old way may be.
  }
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'visually-hidden';
  document.body.append(field);
  const before = document.activeElement;
  field.select();
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- there is nothing else without a secure context
  const copied = document.execCommand('copy');
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return copied;
}

/** What is in the clipboard, if the browser lets us see it. */
export async function pasteText(): Promise<string | undefined> {
  const clipboard = navigator.clipboard as Clipboard | undefined;
  try {
    return await clipboard?.readText();
  } catch {
    return undefined;
  }
}
