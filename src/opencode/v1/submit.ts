import { isAmbiguous, mayPass } from '../../errors.ts';
import type { Prompt, SubmitOptions } from '../../ports/upstream.ts';
import { persevere } from '../../timing/persevere.ts';
import type { PromptIds } from '../../turn/phase.ts';
import type { OpenCode, PromptRequest } from './server.ts';

/**
 * The one POST of a prompt. When it is unknown whether the server accepted it, the message list is asked: a message whose
 * run was aborted would run again (1.18.33). Only one that is provably absent is sent again, under the same ids, which the
 * server treats as one message. Throws upstream's errors, and what `before` throws.
 */
export async function submit(
  client: OpenCode,
  ids: PromptIds,
  prompt: Prompt,
  { first, before, patience }: SubmitOptions,
  signal: AbortSignal,
): Promise<void> {
  const request = requestOf(ids, prompt);
  /** It could not be looked up in all the time that such a poll has: whether it arrived stays unknown. */
  let unknown = false;
  const send = async () => {
    await before();
    try {
      await client.prompt(ids.sessionId, request, signal);
    } catch (error) {
      if (!isAmbiguous(error) || signal.aborted) throw error;
      unknown = true;
      if (await persevere(() => isUpstream(client, ids, signal), patience(), signal)) return;
      unknown = false;
      throw error;
    }
  };
  const options = patience();
  // Another protocol's server gets no first prompt; while one of ours is upstream, it may be there for a moment.
  const again = (error: unknown) =>
    (first ? isAmbiguous : mayPass)(error) && !unknown && options.again(error);
  await persevere(send, { ...options, again }, signal);
}

/** Throws SessionNotFoundError when the session itself is gone. */
export async function isUpstream(client: OpenCode, ids: PromptIds, signal: AbortSignal): Promise<boolean> {
  // Absent means that the session's whole list does not have it either.
  return (await client.message(ids.sessionId, ids.promptMessageId, signal)) !== null;
}

function requestOf({ promptMessageId, promptPartId }: PromptIds, { text, ...rest }: Prompt): PromptRequest {
  // Without an id of its own, a second POST would append the text once more.
  return { messageId: promptMessageId, parts: [{ id: promptPartId, type: 'text', text }], ...rest };
}
