import { isAmbiguous, mayPass } from '../errors.ts';
import type { PromptRequest } from '../ports/upstream.ts';
import { patiently } from '../run/patience.ts';
import { systemText } from '../run/policy-hooks.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import { isPrompted, type PromptIds } from '../turn/phase.ts';
import { applyRules } from './apply-rules.ts';
import { checkServerConfig } from './config-guard.ts';
import { deliverUploads } from './deliver-files.ts';
import { rulesOf } from './rules-of.ts';

/** What of a run is touched here. */
type Run = Pick<
  TurnRun,
  | 'absence'
  | 'conversation'
  | 'deps'
  | 'live'
  | 'own'
  | 'policy'
  | 'signal'
  | 'submission'
  | 'turn'
  | 'upstream'
>;

/**
 * The one POST of a prompt: the first one, that of a later owner, and that of a rerun. So what must hold before each is
 * seen to here: no settings of the server that no host put there, and the rules of this turn's policy in the session, which
 * an owner with an older policy may have made. False, and nothing was posted, when only a new session can have them.
 *
 * When it is unknown whether the server accepted it, the message list is asked; only a message that is provably absent
 * is sent again, under the same ids, which the server treats as one message. Throws ServerConfigFilesError,
 * PolicyNotAppliedError, PolicyHookError and upstream's errors.
 */
export async function postPrompt(run: Run, ids: PromptIds): Promise<boolean> {
  await checkServerConfig(run, ids.directory);
  if (!(await applyRules(run, ids, await rulesOf(run)))) return false;
  const { client } = run.upstream(ids.server);
  const request = await promptRequest(run, ids);
  const isFirst = !run.submission.posted && !isPrompted(run.turn.run.phase);
  /** It could not be looked up in all the time that such a poll has: whether it arrived stays unknown. */
  let unknown = false;
  const send = async () => {
    await run.own.assert();
    run.submission.posting(ids);
    try {
      await client.prompt(ids.sessionId, request, run.signal);
    } catch (error) {
      if (!isAmbiguous(error) || run.signal.aborted) throw error;
      unknown = true;
      if (await isUpstream(run, ids)) return;
      unknown = false;
      throw error;
    }
  };
  const options = patiently(run);
  // Another protocol's server gets no first prompt; while one of ours is upstream, it may be there for a moment.
  const again = (error: unknown) =>
    (isFirst ? isAmbiguous : mayPass)(error) && !unknown && options.again(error);
  await persevere(send, { ...options, again }, run.signal);
  await notePrompted(run);
  return true;
}

export async function notePrompted(run: Run): Promise<void> {
  run.live.followers.add({ type: 'progress', progress: 'prompted' });
  await run.own.write({ run: { phase: 'prompted', promptedAt: run.own.now() } });
}

/** Throws SessionNotFoundError when the session itself is gone. */
export async function isUpstream(run: Run, ids: PromptIds): Promise<boolean> {
  const { client } = run.upstream(ids.server);
  // Absent means that the session's whole list does not have it either.
  const readBack = () => client.message(ids.sessionId, ids.promptMessageId, run.signal);
  return (await persevere(readBack, patiently(run), run.signal)) !== null;
}

async function promptRequest(run: Run, ids: PromptIds): Promise<PromptRequest> {
  const { agent, model, variant } = run.policy;
  const system = await systemText(run);
  const text = await deliverUploads(run, ids.directory);
  return {
    messageId: ids.promptMessageId,
    // Without an id of its own, a second POST would append the text once more.
    parts: [{ id: ids.promptPartId, type: 'text', text }],
    ...(agent === undefined ? {} : { agent }),
    ...(model === undefined ? {} : { model }),
    ...(variant === undefined ? {} : { variant }),
    ...(system === undefined ? {} : { system }),
  };
}
