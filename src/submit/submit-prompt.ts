import {
  isAmbiguous,
  isRetryable,
  PolicyNotAppliedError,
  SessionNotFoundError,
  StaleSessionError,
} from '../errors.ts';
import type { PromptRequest } from '../ports/upstream.ts';
import { patiently } from '../run/patience.ts';
import { directoryOf, permissionsOf, systemText } from '../run/policy-hooks.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { workplace } from '../run/workplace.ts';
import { Session } from '../session/session.ts';
import { waitUntilIdle } from '../stop/stop-turn.ts';
import { persevere } from '../timing/persevere.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import { isPrompted, type PromptIds, promptIds } from '../turn/phase.ts';
import type { TurnWatch } from '../watch/turn-watch.ts';
import { applyRules } from './apply-rules.ts';
import { checkServerConfig, guarded } from './config-guard.ts';
import { deliverUploads } from './deliver-files.ts';

/**
 * Brings the prompt to the server, at most once, and returns its ids. Resumes by the stored phase: what was
 * prompted is never posted again, what may have been is looked for first. The watch is live before the POST.
 * Throws what upstream says: that it is away only when the run was stopped, a wrong answer only when it kept on.
 */
export async function reachPrompt(run: TurnRun, watch: TurnWatch): Promise<PromptIds> {
  const stored = promptIds(run.turn.run);
  if (!stored) return firstPrompt(run, watch);
  await watch.attach(stored);
  if (isPrompted(run.turn.run.phase)) return stored;
  // The owner before us died between storing the ids and hearing the answer to its POST.
  if (await isUpstream(run, stored)) {
    await notePrompted(run);
    return stored;
  }
  return orResend(run, watch, async () => {
    // Which he may not have done: it goes on beside the storing of the ids.
    await waitUntilIdle(run, stored);
    await checkServerConfig(run, stored.directory);
    await post(run, stored);
    return stored;
  });
}

/** The session that the prompt went to is gone, or did nothing: a new session, new ids, once per turn. */
export async function resend(run: TurnRun, watch: TurnWatch): Promise<PromptIds> {
  run.resends += 1;
  run.deps.tracer.event('opencode.session.recreated_with_resend', { 'turn.resends': run.resends });
  run.followers.add({ type: 'progress', progress: 'resent' });
  return promptSession(run, watch, 'recreate');
}

/** The server lost the run: the same message again, under the same ids. */
export async function rerun(run: TurnRun, ids: PromptIds): Promise<void> {
  run.reruns += 1;
  run.deps.tracer.event('turn.rerun', { 'turn.reruns': run.reruns });
  run.followers.add({ type: 'progress', progress: 'rerun' });
  await run.write({ run: { reruns: run.reruns } });
  await checkServerConfig(run, ids.directory);
  await post(run, ids);
}

const firstPrompt = (run: TurnRun, watch: TurnWatch): Promise<PromptIds> =>
  orResend(run, watch, () => promptSession(run, watch, 'ensure'));

/** A session that is gone, or of no use, is replaced. */
async function orResend(
  run: TurnRun,
  watch: TurnWatch,
  prompt: () => Promise<PromptIds>,
): Promise<PromptIds> {
  try {
    return await prompt();
  } catch (error) {
    const useless = error instanceof SessionNotFoundError || error instanceof StaleSessionError;
    if (!useless || run.resends > 0) throw error;
    return resend(run, watch);
  }
}

async function promptSession(run: TurnRun, watch: TurnWatch, how: 'ensure' | 'recreate'): Promise<PromptIds> {
  const directory = await directoryOf(run);
  const rules = guarded((await permissionsOf(run)) ?? [], run.policy);
  const session = sessionOf(run, directory, rules);
  await run.deps.prepareDirectory(directory);
  // The first request for a directory makes the server read what stands there.
  await checkServerConfig(run, directory);
  const options = patiently(run);
  // What upstream did not answer well is borne for a while; a lock or a database that is away is waited for.
  const again = (error: unknown) =>
    isAmbiguous(error)
      ? options.again(error)
      : isRetryable(error) && !(error instanceof SessionNotFoundError && how === 'ensure');
  const reach = (way: 'ensure' | 'recreate') =>
    persevere(() => session[way](run.signal), { ...options, again }, run.signal);
  let found = await reach(how);
  if (!session.justCreated && !(await applyRules(run, found, rules))) {
    run.deps.tracer.event('session.replaced_for_rules');
    found = await reach('recreate');
    if (!session.justCreated && !(await applyRules(run, found, rules)))
      throw new PolicyNotAppliedError(run.policy.name);
  }
  const ids: PromptIds = {
    sessionId: found.sessionId,
    server: found.server,
    directory: await workplace(run, directory, found),
    promptMessageId: run.deps.ids.message(),
    promptPartId: run.deps.ids.part(),
  };
  // Both before the POST: the stream is live, and any later owner can ask upstream for these ids.
  await Promise.all([
    watch.attach(ids),
    run.write({ run: { phase: 'prompting', resends: run.resends, startedAt: run.startedAt, ...ids } }),
    session.justCreated ? undefined : waitUntilIdle(run, ids),
  ]);
  await post(run, ids);
  return ids;
}

/**
 * The one POST of a prompt. When it is unknown whether the server accepted it, the message list is asked; only
 * a message that is provably absent is sent again, under the same ids, which the server treats as one message.
 */
async function post(run: TurnRun, ids: PromptIds): Promise<void> {
  const { client } = run.upstream(ids.server);
  const request = await promptRequest(run, ids);
  /** It could not be looked up in all the time that such a poll has: whether it arrived stays unknown. */
  let unknown = false;
  const send = async () => {
    await run.assertOwned();
    // From here on it may be upstream: a cancel that cuts the POST has that run to stop, too.
    run.ids = ids;
    run.posted = true;
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
  const again = (error: unknown) => isAmbiguous(error) && !unknown && options.again(error);
  await persevere(send, { ...options, again }, run.signal);
  await notePrompted(run);
}

async function notePrompted(run: TurnRun): Promise<void> {
  run.followers.add({ type: 'progress', progress: 'prompted' });
  await run.write({ run: { phase: 'prompted', promptedAt: run.now() } });
}

/** Throws SessionNotFoundError when the session itself is gone. */
async function isUpstream(run: TurnRun, ids: PromptIds): Promise<boolean> {
  const { client } = run.upstream(ids.server);
  // Absent means that the session's whole list does not have it either.
  const readBack = () => client.message(ids.sessionId, ids.promptMessageId, run.signal);
  return (await persevere(readBack, patiently(run), run.signal)) !== null;
}

async function promptRequest(run: TurnRun, ids: PromptIds): Promise<PromptRequest> {
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

function sessionOf(run: TurnRun, directory: string, permission: readonly PermissionRule[]): Session {
  const { deps, conversation } = run;
  return new Session({
    conversationId: conversation.id,
    known: conversation.session,
    prefix: deps.prefix,
    store: deps.sessions,
    lock: deps.lock,
    upstream: (server) => run.upstream(server),
    directory,
    ...(permission.length > 0 ? { permission } : {}),
    tracer: deps.tracer,
    reporter: deps.reporter,
  });
}
