import { expect, it } from '@jest/globals';
import { GuessLimit } from '../../src/operate/guess-limit.ts';

it('hears an address again when the window has ended', () => {
  let now = 0;
  const limit = new GuessLimit({ perAddress: 2, inAll: 10, windowMs: 1_000 }, () => now);
  expect([limit.wrong('a'), limit.waitMs('a'), limit.wrong('a')]).toEqual([1, 0, 2]);
  now = 400;
  expect([limit.waitMs('a'), limit.waitMs('b')]).toEqual([600, 0]);
  now = 1_000;
  expect([limit.waitMs('a'), limit.wrong('a')]).toEqual([0, 1]);
});

it('bounds the guesses of many addresses together', () => {
  const limit = new GuessLimit({ perAddress: 2, inAll: 5, windowMs: 1_000 }, () => 0);
  for (const address of 'abcde') expect(limit.wrong(address)).toBe(1);
  expect(limit.waitMs('f')).toBe(1_000);
});
