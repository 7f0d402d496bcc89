import { expect, it } from '@jest/globals';
import { ReaderShare } from '../../src/live/reader-share.ts';

const whole = 256 * 1024;
const least = 16 * 1024;
const bytesOf = (share: ReaderShare) => share.take().bytes;
const many = (count: number) => Array.from({ length: count }, () => new ReaderShare());

it('readers take 256 KiB each until 64 MiB are taken, then 16 KiB each, and take again what others let go', () => {
  const first = many(256);
  expect(new Set(first.map(bytesOf))).toEqual(new Set([whole]));
  const late = many(1_000);
  expect(new Set(late.map(bytesOf))).toEqual(new Set([least]));
  for (const share of late) share.release();
  expect(bytesOf(late[0] as ReaderShare)).toBe(least);
  // It was less than could have been, or more.
  for (const share of first) share.keep(0);
  late[0]?.keep(63.9 * 1024 * 1024);
  expect(bytesOf(first[0] as ReaderShare)).toBeLessThan(whole);
  for (const share of [...first, ...late]) {
    share.release();
    share.release();
  }
  expect(many(256).map(bytesOf)).toEqual(Array(256).fill(whole));
});
