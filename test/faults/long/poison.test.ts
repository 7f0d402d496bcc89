import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { StoredTurn } from '../../../src/index.ts';
import { startSystem, type TestSystem } from '../../support/system.ts';
import { newConversation, runTurn } from '../../support/turns.ts';

let system: TestSystem;

beforeAll(async () => {
  system = await startSystem();
}, 90_000);
afterAll(() => system.stop());

const calls = 320;
const perStep = 8;
const outputBytes = 45_000;

/** Prints its number and then filler, so that each output is told from the others. */
const printed = (at: number) => ({
  name: 'bash',
  input: {
    command: `printf 'output %s ' ${at}; head -c ${outputBytes} /dev/zero | tr '\\0' x`,
    description: `print ${at}`,
  },
});

it('a turn of 320 calls of 45 KB is completed, readable, and the next one of its conversation runs', async () => {
  const turns = await system.connect();
  await turns.work({ policies: { default: system.policy } });
  const conversation = await newConversation(turns);
  system.respond(({ step, userText }) => {
    if (userText.includes('next')) return { text: ['next'] };
    if (step * perStep >= calls) return { text: ['all ', 'printed'] };
    return { tools: Array.from({ length: perStep }, (_, at) => printed(step * perStep + at)) };
  });
  const { stored, view } = await runTurn(turns, conversation, 'print');
  expect(stored).toMatchObject({ status: 'completed', text: 'all printed', run: { epoch: 1 } });
  const tools = stored.parts.filter((part) => part.type === 'tool');
  expect(tools).toHaveLength(calls);
  expect(tools.every(({ status }) => status === 'completed')).toBe(true);
  expect(view.parts).toEqual(stored.parts);
  expect(view.end?.text).toBe('all printed');
  const next = await runTurn(turns, conversation, 'next');
  expect(next.stored).toMatchObject({ status: 'completed', text: 'next' } satisfies Partial<StoredTurn>);
}, 300_000);
