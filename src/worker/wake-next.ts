import { isRetryable } from '../errors.ts';
import { behindDelayMs } from '../ports/turn-jobs.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';
import type { ClaimDeps } from './claim-turn.ts';

const retry = { firstMs: 200, maxMs: 2_000, jitter: 0.3, again: isRetryable };

/**
 * The conversation's next turn may run. Tried as long as that one may sleep anyway: a worker that dies here, or leaves, is
 * made up for by the delay's own end. Never throws.
 */
export async function wakeNext(
  { store, jobs, clock, reporter, owner }: ClaimDeps,
  conversationId: string,
  signal: AbortSignal,
): Promise<void> {
  const wake = async () => {
    const next = await store.head(conversationId);
    if (next) await jobs.wake(next);
  };
  const again = (limit: AbortSignal) => persevere(wake, { ...retry, clock }, limit);
  try {
    await wake().catch((error: unknown) => {
      if (!isRetryable(error)) throw error;
      return within(behindDelayMs, again, signal, clock);
    });
  } catch (error) {
    reporter.report(error, { action: 'turn.wakeNext', severity: 'warning', owner });
  }
}
