import { expect, it } from '@jest/globals';
import type { Exchange } from '../../src/reply/exchange.ts';
import type { TurnRun } from '../../src/run/turn-run.ts';
import { ForeignPrompts } from '../../src/watch/foreign-prompts.ts';

it('tells once of each message, however often it is seen', () => {
  const told: unknown[] = [];
  const deps = {
    tracer: { event: () => undefined },
    reporter: { report: (error: unknown) => told.push(error) },
  };
  const prompts = new ForeignPrompts({ deps, turn: { id: 't' } } as unknown as TurnRun);
  const seen = (...ids: string[]) =>
    prompts.seen({ foreign: ids.map((id) => ({ info: { id, sessionID: 'ses' } })) } as unknown as Exchange);
  seen();
  seen('one');
  seen('one');
  seen('one', 'other');
  expect(told).toMatchObject([{ code: 'foreign_prompt' }, { code: 'foreign_prompt' }]);
});
