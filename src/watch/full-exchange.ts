import { mayPass } from '../errors.ts';
import { Exchange } from '../reply/exchange.ts';
import type { WireMessage } from '../reply/wire.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';
import type { PromptIds } from '../turn/phase.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'deps' | 'letGo' | 'live' | 'turn' | 'upstream'>;

/** How long the end of a turn waits for the messages of one child. */
const childMs = 15_000;
const childRetry = { firstMs: 100, maxMs: 2_000, again: mayPass };

/**
 * The final exchange of a turn with the messages of its children, whose cost and files are part of the turn's. A
 * child that cannot be read is reported: the answer does not depend on it.
 */
export async function fullExchange(
  run: Run,
  ids: PromptIds,
  messages: readonly WireMessage[],
): Promise<Exchange> {
  const children = new Map<string, readonly WireMessage[]>();
  const upstream = run.upstream(ids.server);
  for (const child of run.live.reply?.childSessions().keys() ?? []) {
    const options = { ...childRetry, clock: run.deps.clock };
    const read = (signal: AbortSignal) => persevere(() => upstream.messages(child, signal), options, signal);
    try {
      children.set(child, await within(childMs, read, run.letGo));
    } catch (error) {
      run.deps.reporter.report(error, { action: 'turn.children', severity: 'warning', turnId: run.turn.id });
    }
  }
  return Exchange.from(messages, ids.promptMessageId, { children });
}
