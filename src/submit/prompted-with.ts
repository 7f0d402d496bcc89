import { byteBudget } from '../bounds/byte-budget.ts';
import { cutText } from '../bounds/cut-text.ts';
import type { Prompt } from '../ports/upstream.ts';
import { sameValue } from '../reply/same-value.ts';
import { systemText } from '../run/policy-hooks.ts';
import type { TurnRun } from '../run/turn-run.ts';
import type { PromptedWith } from '../turn/stored-turn.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'conversation' | 'deps' | 'own' | 'policy' | 'signal' | 'submission'>;

type Given = Omit<Prompt, 'text'>;

/** What the policy gives the model beside the text. The host's hook is asked once per owner: what is stored of it is what is sent. */
export async function givenBy(run: Run): Promise<Given> {
  const { agent, model, variant } = run.policy;
  const system = await run.submission.systemOnce(() => systemText(run));
  return {
    ...(agent === undefined ? {} : { agent }),
    ...(model === undefined ? {} : { model }),
    ...(variant === undefined ? {} : { variant }),
    ...(system === undefined ? {} : { system }),
  };
}

/** The same as it is stored. */
export function promptedWith({ agent, model, variant, system }: Given): PromptedWith {
  return {
    ...(agent === undefined ? {} : { agent }),
    ...(model === undefined ? {} : { model: `${model.providerID}/${model.modelID}` }),
    ...(variant === undefined ? {} : { variant }),
    ...(system === undefined ? {} : { system: cutText(system, byteBudget.system) }),
  };
}

/** Stored with the prompt's ids, as a rule; an owner before us may have had another policy, whose prompt was not posted. */
export async function notePromptedWith(run: Run, given: Given): Promise<void> {
  const now = promptedWith(given);
  if (sameValue(now, run.submission.promptedWith)) return;
  await run.own.write({ promptedWith: now });
  run.submission.isWith(now);
}
