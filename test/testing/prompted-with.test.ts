import { afterEach, expect, it } from '@jest/globals';
import { byteBudget } from '../../src/bounds/byte-budget.ts';
import { jsonBytes } from '../../src/bounds/cut-text.ts';
import type { PromptedWith } from '../../src/index.ts';
import { scriptedUpstream, type TestTurns, testTurns } from '../../src/testing/index.ts';
import { eventually } from '../support/eventually.ts';

/** What a reader finds stored of a turn at the moment that its prompt arrives. */
let seen: (PromptedWith | undefined)[];
let test: TestTurns;
afterEach(() => test.close());

async function open() {
  seen = [];
  const upstream = scriptedUpstream(async (agent, { text }) => {
    const { turns } = await test.turns.list({ status: 'pending' });
    for (const { id } of turns) seen.push((await test.turns.get(id))?.promptedWith);
    await agent.says(`${text}?`);
  });
  test = await testTurns({ upstream });
  return { upstream, turns: test.turns, conversation: test.turns.conversation(test.conversation()) };
}

it('agent, model, variant and system text are stored before the prompt arrives, as they are sent', async () => {
  const { upstream, turns, conversation } = await open();
  let asked = 0;
  const system = () => {
    asked += 1;
    return `Be brief (${asked}).`;
  };
  const policy = { agent: 'build', model: 'anthropic/claude/4', variant: 'high', system };
  await turns.work({ policies: { default: policy, plain: {} } });
  const turn = await conversation.enqueue({ text: 'Hi' });
  expect((await turns.get(turn.id))?.promptedWith).toBeUndefined();
  const given = { agent: 'build', model: 'anthropic/claude/4', variant: 'high', system: 'Be brief (1).' };
  expect((await turns.result(turn.id)).promptedWith).toEqual(given);
  expect(seen).toEqual([given]);
  expect(upstream.prompts).toMatchObject([given]);
  expect(asked).toBe(1);
  const plain = await conversation.enqueue({ text: 'Hi', policy: 'plain' });
  expect((await turns.result(plain.id)).promptedWith).toEqual({});
});

it('a new owner under another policy stores what he gives the model, before his prompt arrives', async () => {
  const { upstream, turns, conversation } = await open();
  const worker = await turns.work({ policies: { default: { system: 'one' } } });
  await turns.result((await conversation.enqueue({ text: 'warm' })).id);
  upstream.goAway();
  const { id } = await conversation.enqueue({ text: 'Hi' });
  await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompting'));
  expect((await turns.get(id))?.promptedWith).toEqual({ system: 'one' });
  await worker.stop(0);
  upstream.comeBack();
  await turns.work({ policies: { default: { system: 'two' } } });
  const { run, promptedWith } = await turns.result(id);
  expect([run.epoch, promptedWith]).toEqual([2, { system: 'two' }]);
  expect(upstream.prompts.map(({ system }) => system)).toEqual(['one', 'two']);
  expect(seen).toEqual([{ system: 'one' }, { system: 'two' }]);
});

it('of a long system text its beginning is stored, and how much is left out; all of it is sent', async () => {
  const { upstream, turns, conversation } = await open();
  const system = 'é'.repeat(400_000);
  await turns.work({ policies: { default: { system } } });
  const { promptedWith } = await turns.result((await conversation.enqueue({ text: 'Hi' })).id);
  expect(jsonBytes(promptedWith?.system)).toBeLessThanOrEqual(byteBudget.system);
  expect(promptedWith?.system).toMatch(/^é{1000}é*\n\[\d+ bytes left out\]$/);
  expect(upstream.prompts[0]?.system).toBe(system);
});
