import { effect, signal } from '@preact/signals';
import { load, save } from '../app/storage';

const SMALLEST = 9;
const LARGEST = 28;
const DEFAULT = 14;

/** The size of a terminal's letters in pixels, kept across visits. */
export const fontSize = signal(load('font-size', isFontSize) ?? DEFAULT);

effect(() => save('font-size', fontSize.value));

/** Makes the letters larger or smaller. */
export function changeFontSize(by: number): void {
  fontSize.value = Math.min(LARGEST, Math.max(SMALLEST, fontSize.value + by));
}

function isFontSize(value: unknown): value is number {
  return typeof value === 'number' && value >= SMALLEST && value <= LARGEST;
}
