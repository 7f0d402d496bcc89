import type { Meter } from '../instrumentation/meter.ts';
import { otherValue } from '../instrumentation/safe-meter.ts';
import type { TurnOutcome } from '../turn/outcome.ts';
import type { CompiledPolicy } from '../turn/policy.ts';

type Finished = Exclude<TurnOutcome, { status: 'interrupted' }>;

/** The figures of one finished turn. `unclaimed`: no run has ended it, so that its times say nothing. */
export function meterFinished(
  meter: Meter,
  policy: CompiledPolicy,
  outcome: Finished,
  unclaimed: boolean,
): void {
  const { status, durationMs, timeToFirstTokenMs } = outcome;
  const reason = 'error' in outcome ? outcome.error?.reason : undefined;
  const ours = { 'turn.policy': policy.name };
  const model = { 'gen_ai.request.model': policy.model?.modelID };
  meter.add('opencode_turns.finished', 1, { ...ours, 'turn.status': status, 'turn.reason': reason });
  if (!unclaimed)
    meter.measure('gen_ai.invoke_agent.duration', durationMs / 1_000, {
      ...ours,
      ...model,
      'turn.status': status,
      'gen_ai.agent.name': policy.agent,
      'error.type': status === 'error' ? reason : undefined,
    });
  if (timeToFirstTokenMs !== undefined)
    meter.measure('opencode_turns.time_to_first_token', timeToFirstTokenMs / 1_000, { ...ours, ...model });
  meterUsage(meter, policy, outcome);
}

/** What the server has told of it; of a turn that no model was asked for there is nothing to tell. */
function meterUsage(meter: Meter, policy: CompiledPolicy, { usage }: Finished): void {
  const { input, output, reasoning, cacheRead, cacheWrite, cost } = usage;
  const told = {
    'turn.policy': policy.name,
    // The server decides where a policy names none.
    'gen_ai.provider.name': policy.model?.providerID ?? otherValue,
    'gen_ai.request.model': policy.model?.modelID,
  };
  const tokens = {
    // The conventions count what came from or went into a cache as input, and reasoning as output; OpenCode tells them apart.
    input_tokens: input + cacheRead + cacheWrite,
    output_tokens: output + reasoning,
    'cache_read.input_tokens': cacheRead,
    'cache_write.input_tokens': cacheWrite,
    'reasoning.output_tokens': reasoning,
  } as const;
  if (tokens.input_tokens + tokens.output_tokens === 0) return;
  for (const [kind, count] of Object.entries(tokens) as [keyof typeof tokens, number][])
    meter.add(`gen_ai.client.inference.usage.${kind}`, count, { 'gen_ai.operation.name': 'chat', ...told });
  meter.add('opencode_turns.cost', cost, told);
}
