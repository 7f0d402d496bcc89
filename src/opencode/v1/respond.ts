import { BadRequestError, isAmbiguous, isWrongAnswer } from '../../errors.ts';
import type { InputAnswer, InputRequest } from '../../turn/stored-turn.ts';
import type { OpenCode } from './server.ts';

type Asked = Pick<InputRequest, 'requestId' | 'kind'>;

/**
 * Brings the answer to a request to the server. False when the request is not open there any more, which is asked when
 * nobody knows whether the answer arrived.
 */
export async function respond(
  client: OpenCode,
  directory: string,
  request: Asked,
  answer: InputAnswer,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    return await reply(client, directory, request, answer, signal);
  } catch (error) {
    if (!isAmbiguous(error) || signal.aborted) throw error;
    // It may have arrived. Besides, a server that answers this one and never the other is not away.
    if (await isOpen(client, directory, request, error, signal)) throw error;
    return false;
  }
}

function reply(
  client: OpenCode,
  directory: string,
  { requestId, kind }: Asked,
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
  { requestId, kind }: Asked,
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
