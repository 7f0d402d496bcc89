/**
 * Durable phases of a run, and where a new owner resumes. Each phase is written before the step it names.
 *
 *   queued      nothing has happened upstream: start at the session.
 *   prompting   session and prompt ids are stored, the POST may have been sent: ask upstream for that message
 *               id; absent → POST with the same ids; present → as prompted.
 *   prompted    upstream has the prompt: attach, rebuild the reply from the exchange, never POST.
 *   finalizing  text and parts are stored: attach what is left and write the terminal state. Idempotent.
 *   finished    terminal: nothing.
 */
import type { Exchange } from '../reply/exchange.ts';
import type { RunState, StopRef, TurnPhase } from './stored-turn.ts';

/** What names one prompt at its server, which makes them up: nobody else reads anything out of them. */
export interface PromptKeys {
  /** The id of the message that the prompt becomes. */
  readonly promptMessageId: string;
  readonly promptPartId: string;
}

/** Where one prompt is, and its keys. They are stored before the POST, so that any owner can ask upstream for it. */
export interface PromptIds extends PromptKeys {
  readonly sessionId: string;
  readonly server: string;
  readonly directory: string;
}

/** The stored prompt ids, or undefined when the run never came so far. */
export function promptIds(run: RunState): PromptIds | undefined {
  const { sessionId, server, directory, promptMessageId, promptPartId } = run;
  if (run.phase === 'queued') return undefined;
  if (!sessionId || !server || !directory || !promptMessageId || !promptPartId) return undefined;
  return { sessionId, server, directory, promptMessageId, promptPartId };
}

/** What names the run of a prompt to whoever is to stop it. */
export function stopRefOf({ sessionId, server, directory, promptMessageId }: PromptIds): StopRef {
  return { sessionId, server, directory, promptMessageId };
}

/** Whether this is the prompt whose run an owner has stopped as lost, and that has not been posted again since. */
export function isLostPrompt({ lostPromptedAt }: RunState, { userMessage }: Exchange): boolean {
  return lostPromptedAt !== undefined && userMessage?.info.time.created === lostPromptedAt;
}

/** True once upstream is known to have the prompt. */
export function isPrompted(phase: TurnPhase): boolean {
  return phase === 'prompted' || phase === 'finalizing' || phase === 'finished';
}
