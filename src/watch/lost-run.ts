import type { Exchange } from '../reply/exchange.ts';
import { patiently } from '../run/patience.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import type { PromptIds } from '../turn/phase.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'absence' | 'deps' | 'policy' | 'signal' | 'submission' | 'turn' | 'upstream'>;

/** Whether the server itself has given up a run that was aborted. False when nobody can say, which is reported. */
export async function wasLost(run: Run, ids: PromptIds, exchange: Exchange): Promise<boolean> {
  const upstream = run.upstream(ids.server);
  try {
    return await persevere(() => upstream.isLost(ids, exchange, run.signal), patiently(run), run.signal);
  } catch (error) {
    if (run.signal.aborted) throw error;
    run.deps.reporter.report(error, { action: 'turn.instance', severity: 'warning', turnId: run.turn.id });
    return false;
  }
}
