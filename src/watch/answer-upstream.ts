import { mayPass } from '../errors.ts';
import { patiently } from '../run/patience.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { InputAnswer, InputRequest } from '../turn/stored-turn.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'absence' | 'deps' | 'policy' | 'submission' | 'turn' | 'upstream'>;

/**
 * Brings the answer to a request upstream. False when the request is not open there any more: somebody has answered it,
 * we ourselves maybe, or its run is over. Throws what upstream says when it refuses the answer, or does not take it in all
 * the time that such a call has (`Patience`); after an abort of `signal`, the last error.
 */
export function answerUpstream(
  run: Run,
  ids: PromptIds,
  request: InputRequest,
  answer: InputAnswer,
  signal: AbortSignal,
): Promise<boolean> {
  const upstream = run.upstream(ids.server);
  const options = patiently(run);
  const again = (error: unknown) => mayPass(error) && options.again(error);
  return persevere(() => upstream.respond(ids, request, answer, signal), { ...options, again }, signal);
}
