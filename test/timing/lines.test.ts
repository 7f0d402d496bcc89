import { expect, it } from '@jest/globals';
import { AskedAnew } from '../../src/timing/asked-anew.ts';
import { Lines } from '../../src/timing/lines.ts';
import { deferred } from '../support/deferred.ts';

const full = () => new Error('full');
const ticks = async () => {
  for (let at = 0; at < 20; at += 1) await Promise.resolve();
};

it('callers of one key come one after the other, each told what the one in front left; other keys do not wait', async () => {
  const lines = new Lines<number>();
  const gate = deferred();
  const seen: (number | undefined)[] = [];
  let atOnce = 0;
  const work = (at: number) => async (hint: number | undefined) => {
    atOnce += 1;
    expect(atOnce).toBe(1);
    await gate.promise;
    seen.push(hint);
    atOnce -= 1;
    return { result: at, hint: at };
  };
  const all = Array.from({ length: 40 }, (_, at) => lines.run('a', work(at), full));
  expect(await lines.run('b', async (hint) => ({ result: hint }), full)).toBeUndefined();
  gate.resolve(undefined);
  expect(await Promise.all(all)).toEqual(Array.from({ length: 40 }, (_, at) => at));
  expect(seen).toEqual([undefined, ...Array.from({ length: 39 }, (_, at) => at)]);
});

it('one that fails keeps nobody up, and leaves no hint', async () => {
  const lines = new Lines<number>();
  const first = lines.run('a', async () => ({ result: 1, hint: 1 }), full);
  const failed = lines.run('a', () => Promise.reject(new Error('no')), full);
  const third = lines.run('a', async (hint) => ({ result: hint }), full);
  await first;
  await expect(failed).rejects.toThrow('no');
  expect(await third).toBeUndefined();
});

it('all who wait meet at once what the first has met, when it is the same for all', async () => {
  const lines = new Lines<number>({ breaksUp: (error) => (error as Error).message === 'away' });
  const gate = deferred();
  let begun = 0;
  const work = async () => {
    begun += 1;
    await gate.promise;
    throw new Error('away');
  };
  const head = lines.run('a', () => Promise.reject(new Error('away')), full);
  const rest = Array.from({ length: 5 }, () => lines.run('a', work, full));
  await expect(head).rejects.toThrow('away');
  await ticks();
  expect(begun).toBe(5);
  gate.resolve(undefined);
  for (const each of rest) await expect(each).rejects.toThrow('away');
});

it('a line whose head hangs is left, and one that is too long refuses', async () => {
  const lines = new Lines<number>({ stuckMs: 20, maxWaiting: 2 });
  const gate = deferred();
  const head = lines.run('a', () => gate.promise.then(() => ({ result: 0, hint: 7 })), full);
  const behind = [1, 2].map((at) => lines.run('a', async (hint) => ({ result: [at, hint] }), full));
  await expect(lines.run('a', async () => ({ result: 3 }), full)).rejects.toThrow('full');
  expect(await Promise.all(behind)).toEqual([
    [1, undefined],
    [2, undefined],
  ]);
  gate.resolve(undefined);
  expect(await head).toBe(0);
});

it('nobody gets an answer to a question that is older than his call, and many share one', async () => {
  const asked = new AskedAnew<number>();
  const gates = [deferred(), deferred(), deferred()];
  let questions = 0;
  const question = async () => {
    const number = questions;
    questions += 1;
    await gates[number]?.promise;
    return number;
  };
  const first = asked.ask('a', question);
  const shared = [asked.ask('a', question), asked.ask('a', question)];
  gates[0]?.resolve(undefined);
  expect(await first).toBe(0);
  await ticks();
  const third = asked.ask('a', question);
  gates[1]?.resolve(undefined);
  expect(await Promise.all(shared)).toEqual([1, 1]);
  gates[2]?.resolve(undefined);
  expect(await third).toBe(2);
  expect(questions).toBe(3);
});
