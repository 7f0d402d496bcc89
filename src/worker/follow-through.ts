import { openStopsOf } from '../finish/terminal-write.ts';
import { Exchange } from '../reply/exchange.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { stopUpstream } from '../stop/stop-turn.ts';
import { rerun, resend } from '../submit/submit-prompt.ts';
import { isLostPrompt, type PromptIds } from '../turn/phase.ts';
import type { TurnWatch, WatchEnd } from '../watch/turn-watch.ts';

export interface Followed {
  readonly end: WatchEnd;
  /** Where the prompt was at the end. */
  readonly ids: PromptIds;
}

/**
 * Follows until the end, over the two ways in which one turn makes two model runs; each is taken once. What may run
 * upstream all the same is stopped before the prompt goes there again, and before the turn ends without it; one that could
 * not be seen to end is noted in `submission.openStops`.
 */
export async function followThrough(run: TurnRun, watch: TurnWatch, first: PromptIds): Promise<Followed> {
  let ids = first;
  for (;;) {
    run.submission.isAt(ids);
    const end = await watch.follow(ids);
    if (!('exchange' in end)) {
      // The run in the old session has no owner any more; that its session was deleted does not stop it.
      const { confirmed } = await stopUpstream(run, ids);
      if (run.submission.resends > 0) return { end, ids };
      if (!confirmed) await run.own.write({ run: openStopsOf(run) });
      ids = await resend(run, watch);
      continue;
    }
    if (!mayRun(end)) return { end, ids };
    const stopped = await stopLost(run, ids, end.exchange);
    if (stopped.kind === 'ended') continue;
    if (stopped.kind === 'unconfirmed' || end.kind === 'failed' || !mayRerun(run, end.exchange))
      return { end: { ...end, exchange: stopped.exchange }, ids };
    await rerun(run, ids, stopped.exchange.userMessage?.info.time.created);
  }
}

type Judged = Extract<WatchEnd, { exchange: Exchange }>;

/** It was judged by a status, which may lie: nothing that upstream has stored says that the run is over. */
function mayRun({ kind, exchange }: Judged): boolean {
  if (kind === 'lost') return true;
  return kind === 'failed' && exchange.userMessage !== undefined && exchange.inProgress;
}

/** One that an owner before us has begun, and did not come to post, is counted already. */
function mayRerun({ policy, submission, turn }: TurnRun, exchange: Exchange): boolean {
  if (policy.onUpstreamLost !== 'rerun') return false;
  return submission.reruns < policy.limits.maxReruns || isLostPrompt(turn.run, exchange);
}

/** `ended`: the run was alive, and has come to an end of its own. */
async function stopLost(
  run: TurnRun,
  ids: PromptIds,
  lost: Exchange,
): Promise<{ readonly kind: 'over' | 'ended' | 'unconfirmed'; readonly exchange: Exchange }> {
  const lostPromptedAt = lost.userMessage?.info.time.created;
  if (lostPromptedAt !== undefined) await run.own.write({ run: { lostPromptedAt } });
  const { messages, confirmed } = await stopUpstream(run, ids, { lost: true });
  const exchange = messages ? Exchange.from(messages, ids.promptMessageId) : lost;
  if (!confirmed) return { kind: 'unconfirmed', exchange };
  return { kind: run.upstream(ids.server).hasEnded(exchange) ? 'ended' : 'over', exchange };
}
