/** 32 symbols, none of which can be mistaken for another: one per five random bits. */
const ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';

/** A fresh random id of 10 symbols that can be a subject token. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return Array.from(bytes, (byte) => ALPHABET.charAt(byte & 31)).join('');
}
