import type { ComponentChildren, JSX } from 'preact';

/** What stands where there is nothing to show, and why. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}
