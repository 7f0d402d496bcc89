import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '../../timing/clock.ts';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const randomLength = 14;

/**
 * Mints message and part ids in the server's own format: prefix, 12 hex digits of the low 48 bits of Unix ms ×
 * 4096 + a counter, 14 random base-62 characters. Ascending within a process, unique over all sessions. Servers
 * before 1.18 compared ids by time, so they are minted from the wall clock right before they are used.
 */
export function openCodeIds(clock: Clock = systemClock): { message(): string; part(): string } {
  let last = 0n;
  const mint = (prefix: string): string => {
    const time = BigInt(clock.now()) * 4096n;
    last = time > last ? time : last + 1n;
    const hex = (last & 0xffff_ffff_ffffn).toString(16).padStart(12, '0');
    return `${prefix}_${hex}${randomText()}`;
  };
  return { message: () => mint('msg'), part: () => mint('prt') };
}

/** Bytes that would make the first characters likelier than the others are left out. */
function randomText(): string {
  let text = '';
  while (text.length < randomLength) {
    for (const byte of randomBytes(randomLength * 2)) {
      if (byte < 248 && text.length < randomLength) text += alphabet[byte % 62];
    }
  }
  return text;
}
