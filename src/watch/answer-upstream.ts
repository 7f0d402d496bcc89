import { BadRequestError, isAmbiguous, isWrongAnswer, mayPass } from '../errors.ts';
import type { OpenCode } from '../ports/upstream.ts';
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
  const { client } = run.upstream(ids.server);
  const send = async () => {
    try {
      return await reply(client, ids.directory, request, answer, signal);
    } catch (error) {
      if (!isAmbiguous(error) || signal.aborted) throw error;
      // It may have arrived. Besides, a server that answers this one and never the other is not away.
      if (await isOpen(client, ids.directory, request, error, signal)) throw error;
      return false;
    }
  };
  const options = patiently(run);
  const again = (error: unknown) => mayPass(error) && options.again(error);
  return persevere(send, { ...options, again }, signal);
}

function reply(
  client: OpenCode,
  directory: string,
  { requestId, kind }: InputRequest,
  answer: InputAnswer,
  signal: AbortSignal,
): Promise<boolean> {
  if (answer.kind === 'question') return client.replyQuestion(directory, requestId, answer.answers, signal);
  if (answer.kind === 'permission')
    return client.replyPermission(directory, requestId, answer.reply, answer.message, signal);
  if (kind === 'question') return client.rejectQuestion(directory, requestId, signal);
  return client.replyPermission(directory, requestId, 'reject', undefined, signal);
}

/** Counts as open while nobody can say; throws only what is no answer of the server. */
async function isOpen(
  client: OpenCode,
  directory: string,
  { requestId, kind }: InputRequest,
  error: unknown,
  signal: AbortSignal,
): Promise<boolean> {
  const list = kind === 'question' ? client.questions : client.permissions;
  try {
    return (await list(directory, signal)).some(({ id }) => id === requestId);
  } catch (problem) {
    // It cannot list what is asked in the directory (see `rereadRequests`); whether it is there is told by others, too.
    if (problem instanceof BadRequestError) {
      await client.statuses(directory, signal).catch(() => undefined);
      return true;
    }
    throw isWrongAnswer(problem) ? problem : error;
  }
}
