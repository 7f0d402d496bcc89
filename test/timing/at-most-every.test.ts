import { expect, it } from '@jest/globals';
import { manualClock } from '../../src/testing/manual-clock.ts';
import { atMostEvery } from '../../src/timing/at-most-every.ts';
import { deferred } from '../support/deferred.ts';

it('asks once in a time, and one at a time', async () => {
  const clock = manualClock();
  let asked = 0;
  let gate = deferred();
  const read = atMostEvery(
    100,
    async () => {
      asked += 1;
      await gate.promise;
      return asked;
    },
    clock,
  );
  const first = [read(), read()];
  await clock.advance(500);
  // The answer is late: nobody asks a second time beside it.
  first.push(read());
  expect(asked).toBe(1);
  gate.resolve();
  expect(await Promise.all(first)).toEqual([1, 1, 1]);
  gate = deferred();
  gate.resolve();
  expect(await read()).toBe(2);
  expect(await read()).toBe(2);
  await clock.advance(100);
  expect(await read()).toBe(3);
});

it('what fails is asked again after that time, not sooner', async () => {
  const clock = manualClock();
  let asked = 0;
  const read = atMostEvery(
    100,
    async () => {
      asked += 1;
      throw new Error('away');
    },
    clock,
  );
  await expect(read()).rejects.toThrow('away');
  await expect(read()).rejects.toThrow('away');
  await clock.advance(100);
  await expect(read()).rejects.toThrow('away');
  expect(asked).toBe(2);
});
