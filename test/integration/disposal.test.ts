/** `await using`, and who closes what when several do. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { RunningWorker, Turns } from '../../src/index.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';

let system: TestSystem;
beforeAll(async () => {
  system = await startSystem();
}, 90_000);
afterAll(() => system?.stop());

const policies = () => ({ default: system.policy });
const answered = (text: string) => system.respond(() => ({ text: [text] }));

it('a block ends with its worker stopped, its connections closed, in that order, also when it throws', async () => {
  answered('fine');
  const left: { turns?: Turns; worker?: RunningWorker; order: string[] } = { order: [] };
  const block = async (fails: boolean) => {
    await using turns = await system.connect();
    await using worker = await turns.work({ policies: policies() });
    Object.assign(left, { turns, worker });
    const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'hello' });
    expect(await turns.result(id)).toMatchObject({ status: 'completed', text: 'fine' });
    if (fails) throw new Error('of the block');
    return worker.state;
  };
  expect(await block(false)).toBe('running');
  expect(left.worker?.state).toBe('stopped');
  await expect(left.turns?.get('0'.repeat(24))).rejects.toMatchObject({ code: 'illegal_state' });
  await expect(block(true)).rejects.toThrow('of the block');
  expect(left.worker?.state).toBe('stopped');
});

it('one that was stopped or closed already, or twice, is left in peace', async () => {
  const turns = await system.connect();
  const worker = await turns.work({ policies: policies() });
  expect(await worker.stop(0)).toEqual({ handedBack: [] });
  await expect(worker.stop()).rejects.toMatchObject({ code: 'illegal_state' });
  await worker[Symbol.asyncDispose]();
  await turns.close();
  await turns[Symbol.asyncDispose]();
});

it('closing waits for a worker that is being stopped; a second stop does not take its connections away', async () => {
  const gate = deferred();
  system.respond(() => ({ text: ['some ', 'text'], gate: gate.promise, gateAt: 1 }));
  const turns = await system.connect();
  const other = await system.connect();
  const worker = await turns.work({ policies: policies() });
  const { id } = await other.enqueue({ conversation: await newConversation(other), text: 'go' });
  await eventually(async () => expect(await other.get(id)).toMatchObject({ run: { phase: 'prompted' } }));
  const stopped = worker.stop(30_000);
  await expect(worker.stop(0)).rejects.toMatchObject({ code: 'illegal_state' });
  const closed = turns.close();
  const disposed = worker[Symbol.asyncDispose]();
  gate.resolve(undefined);
  // It may finish what it has begun: nobody has closed anything under it.
  expect(await stopped).toEqual({ handedBack: [] });
  await Promise.all([closed, disposed]);
  expect(await other.get(id)).toMatchObject({ status: 'completed', text: 'some text', run: { epoch: 1 } });
  await other.close();
});
