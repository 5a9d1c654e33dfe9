/** What a blob probably is. */
export interface BlobKind {
  label: string;
  extension: string;
  image: boolean;
}

const SIGNATURES: [string, string, boolean, number[], number?][] = [
  ['PNG image', 'png', true, [0x89, 0x50, 0x4e, 0x47]],
  ['JPEG image', 'jpg', true, [0xff, 0xd8, 0xff]],
  ['GIF image', 'gif', true, [0x47, 0x49, 0x46, 0x38]],
  ['WebP image', 'webp', true, [0x57, 0x45, 0x42, 0x50], 8],
  ['BMP image', 'bmp', true, [0x42, 0x4d]],
  ['PDF', 'pdf', false, [0x25, 0x50, 0x44, 0x46]],
  ['ZIP archive', 'zip', false, [0x50, 0x4b, 0x03, 0x04]],
  ['gzip', 'gz', false, [0x1f, 0x8b]],
];

/** Tells from a blob's first bytes what it is: blobs carry no name and no type. */
export function blobKind(head: Uint8Array): BlobKind {
  for (const [label, extension, image, bytes, at = 0] of SIGNATURES) {
    if (bytes.every((byte, index) => head[at + index] === byte)) return { label, extension, image };
  }
  if (head.length > 0 && isText(head)) return { label: 'Text', extension: 'txt', image: false };
  return { label: 'Binary', extension: 'bin', image: false };
}

function isText(head: Uint8Array): boolean {
  // A character may be cut in two at the end.
  const string = new TextDecoder().decode(head).replace(/\uFFFD{1,3}$/u, '');
  // eslint-disable-next-line no-control-regex -- those are what text does not have
  return !/[\u0000-\u0008\u000e-\u001f\uFFFD]/u.test(string);
}

/** The bytes of a blob's beginning, from the encoded value's. */
export function blobHead(raw: Uint8Array): Uint8Array {
  // A blob is one MessagePack binary: a byte for the type, one, two or four for the length.
  const header = { 0xc4: 2, 0xc5: 3, 0xc6: 5 }[raw[0] ?? 0];
  return header === undefined ? raw : raw.subarray(header);
}
