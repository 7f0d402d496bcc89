import { expect, it } from '@jest/globals';
import { Closers } from '../src/closers.ts';

/** Closers that note their turn; those named in `failing` throw. */
function closing(names: readonly string[], failing: readonly string[] = []) {
  const closed: string[] = [];
  const closers = new Closers();
  for (const name of names) {
    closers.add(name, async () => {
      closed.push(name);
      if (failing.includes(name)) throw new Error(`no ${name}`);
    });
  }
  return { closers, closed };
}

it('what was opened last is closed first', async () => {
  const { closers, closed } = closing(['database', 'queue', 'worker']);
  expect(closers.closed).toBe(false);
  await closers.close();
  expect(closed).toEqual(['worker', 'queue', 'database']);
  expect(closers.closed).toBe(true);
});

it('every closer runs although others throw, and each failure is told by name', async () => {
  const { closers, closed } = closing(['database', 'queue', 'worker'], ['worker', 'queue']);
  const error = await closers.close().catch((problem: unknown) => problem);
  expect(closed).toEqual(['worker', 'queue', 'database']);
  expect(error).toBeInstanceOf(AggregateError);
  expect((error as AggregateError).errors).toEqual([
    new Error('closing worker failed', { cause: new Error('no worker') }),
    new Error('closing queue failed', { cause: new Error('no queue') }),
  ]);
});

it('a closer that throws at once, without a promise, is no different', async () => {
  const { closers, closed } = closing(['database']);
  closers.add('hasty', () => {
    throw new Error('at once');
  });
  await expect(closers.close()).rejects.toBeInstanceOf(AggregateError);
  expect(closed).toEqual(['database']);
});

it('the second call waits for the first, and nothing is closed twice', async () => {
  const { closers, closed } = closing(['database']);
  const both = [closers.close(), closers.close()];
  await Promise.all(both);
  await closers.close();
  expect(closed).toEqual(['database']);
});
