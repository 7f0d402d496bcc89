/** Bytes of a value as JSON text in UTF-8: what it costs in the database (JSON text, or less) and on the wire. */
export function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value) ?? '');
}

/** JSON writes one UTF-16 unit with six bytes at most. */
const maxUnitBytes = 6;
/** More than any marker has. */
const markerBytes = 40;
const marker = /\n?\[(\d+) bytes left out\]$/;

export const leftOutMark = (bytes: number): string => `[${bytes} bytes left out]`;

/** What is left of a text that was cut, without its mark; undefined for one that was not. */
export function keptOf(text: string): string | undefined {
  const [mark] = marker.exec(text.slice(-markerBytes)) ?? [];
  return mark === undefined ? undefined : text.slice(0, text.length - mark.length);
}

/**
 * A text whose JSON has at most `maxBytes` (64 at least), cut at its end with a mark that says how many bytes of it
 * are left out. One that fits stays as it is, so that cutting twice changes nothing; one that was cut before and is
 * cut shorter tells the whole loss.
 */
export function cutText(text: string, maxBytes: number): string {
  if (text.length * maxUnitBytes + 2 <= maxBytes) return text;
  // Each unit has a byte at least: a text that grows far beyond its bound is not measured again and again.
  if (text.length <= maxBytes && jsonBytes(text) <= maxBytes) return text;
  const [mark, count] = marker.exec(text.slice(-markerBytes)) ?? ['', '0'];
  const whole = text.slice(0, text.length - mark.length);
  const head = beginning(whole, maxBytes - markerBytes - 2);
  const bytes = Number(count) + Buffer.byteLength(whole) - Buffer.byteLength(head);
  return `${head}\n${leftOutMark(bytes)}`;
}

/** The longest beginning, or nearly, whose JSON has at most that many bytes without its quotes. Splits no character. */
function beginning(text: string, maxBytes: number): string {
  let head = text.slice(0, maxBytes);
  for (;;) {
    if (/[\ud800-\udbff]$/.test(head)) head = head.slice(0, -1);
    const bytes = jsonBytes(head) - 2;
    if (bytes <= maxBytes) return head;
    head = head.slice(0, Math.floor((head.length * maxBytes) / bytes));
  }
}
