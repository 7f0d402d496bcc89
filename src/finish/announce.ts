import { PolicyHookError } from '../errors.ts';
import type { Exchange } from '../reply/exchange.ts';
import type { TurnDeps } from '../run/deps.ts';
import { meterFinished } from '../run/finished-figures.ts';
import { noteFinished } from '../run/finished-note.ts';
import { callHook } from '../run/policy-hooks.ts';
import type { TurnOutcome } from '../turn/outcome.ts';
import type { CompiledPolicy } from '../turn/policy.ts';

export interface Announcement {
  readonly policy: CompiledPolicy;
  readonly outcome: Exclude<TurnOutcome, { status: 'interrupted' }>;
  /** With the end of a run that was followed. */
  readonly exchange?: Exchange | undefined;
  /** No run has ended it: how long it took says nothing. */
  readonly unclaimed?: boolean;
}

/**
 * Tells the end of a turn, whoever wrote it, once it is durable: an event in its trace, its one line, its figures, the
 * host's hooks.
 * The only place that does; never throws. `signal` ends the waiting for a hook.
 */
export async function announce(
  { tracer, meter, reporter }: Pick<TurnDeps, 'tracer' | 'meter' | 'reporter'>,
  { policy, outcome, exchange, unclaimed = false }: Announcement,
  signal: AbortSignal,
): Promise<void> {
  const { status, turnId } = outcome;
  const reason = 'error' in outcome ? outcome.error?.reason : undefined;
  tracer.event('opencode.turn.finished', { 'turn.status': status, 'turn.reason': reason });
  noteFinished(reporter, { policy: policy.name, ...outcome });
  meterFinished(meter, policy, outcome, unclaimed);
  const { onFinalized, onTurnFinished } = policy;

  /** Whatever the host does now is reported and changes nothing, and the slot is free in bounded time. */
  const tell = async (name: 'onFinalized' | 'onTurnFinished', fn: () => void | Promise<void>) => {
    try {
      await callHook(policy, name, fn, () => undefined, signal);
    } catch (error) {
      tracer.event('opencode.callback.error', {
        'callback.name': name,
        'error.type': error instanceof PolicyHookError ? `${error.code}_${error.kind}` : 'interrupted',
      });
      reporter.report(error, { action: `policy.${name}`, turnId });
    }
  };
  if (onFinalized && exchange && status === 'completed')
    await tell('onFinalized', () => onFinalized(outcome, exchange));
  if (onTurnFinished) await tell('onTurnFinished', () => onTurnFinished(outcome));
}
