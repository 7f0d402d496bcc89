import {
  isAmbiguous,
  isRetryable,
  PolicyNotAppliedError,
  SessionNotFoundError,
  StaleSessionError,
  UnusableDirectoryError,
} from '../errors.ts';
import { patiently } from '../run/patience.ts';
import { directoryOf } from '../run/policy-hooks.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { workplace, worksElsewhere } from '../run/workplace.ts';
import { Session } from '../session/session.ts';
import { waitUntilIdle } from '../stop/stop-turn.ts';
import { persevere } from '../timing/persevere.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import { isPrompted, type PromptIds, promptIds } from '../turn/phase.ts';
import type { SessionRef } from '../turn/stored-turn.ts';
import type { TurnWatch } from '../watch/turn-watch.ts';
import { checkServerConfig } from './config-guard.ts';
import { isUpstream, notePrompted, postPrompt } from './post-prompt.ts';
import { givenBy, promptedWith } from './prompted-with.ts';
import { rulesOf } from './rules-of.ts';

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
    if (await postPrompt(run, stored)) return stored;
    // Nothing of this turn is upstream: that is no resend.
    run.deps.tracer.event('session.replaced_for_rules');
    return promptSession(run, watch, 'recreate');
  });
}

/** The session that the prompt went to is gone, or did nothing: a new session, new ids, once per turn. */
export async function resend(run: TurnRun, watch: TurnWatch): Promise<PromptIds> {
  const resends = run.submission.countResend();
  run.deps.meter.add('opencode_turns.resends', 1, { 'turn.policy': run.policy.name });
  run.deps.tracer.event('opencode.session.recreated_with_resend', { 'turn.resends': resends });
  run.live.followers.add({ type: 'progress', progress: 'resent' });
  return promptSession(run, watch, 'recreate');
}

/** The server lost the run: the same message again, under the same ids. `lostPromptedAt`: when it had got the one before. */
export async function rerun(run: TurnRun, ids: PromptIds, lostPromptedAt: number | undefined): Promise<void> {
  const before = run.submission.reruns;
  const reruns = run.submission.countRerun(run.policy.limits.maxReruns, lostPromptedAt);
  if (reruns > before) run.deps.meter.add('opencode_turns.reruns', 1, { 'turn.policy': run.policy.name });
  run.deps.tracer.event('turn.rerun', { 'turn.reruns': reruns });
  run.live.followers.add({ type: 'progress', progress: 'rerun' });
  await run.own.write({ run: { reruns } });
  // The prompt is upstream: in another session it would be a second one.
  if (!(await postPrompt(run, ids))) throw new PolicyNotAppliedError(run.policy.name);
}

type Way = 'ensure' | 'recreate';

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
    if (!useless || run.submission.resends > 0) throw error;
    return resend(run, watch);
  }
}

async function promptSession(run: TurnRun, watch: TurnWatch, how: Way): Promise<PromptIds> {
  const directory = await directoryOf(run);
  const session = sessionOf(run, directory, await rulesOf(run));
  await run.deps.prepareDirectory(directory);
  // The first request for a directory makes the server read what stands there.
  await checkServerConfig(run, directory);
  const found = await placedSession(run, session, directory, how);
  const ids = await storedIds(run, watch, found, directory, session.justCreated);
  if (await postPrompt(run, ids)) return ids;
  run.deps.tracer.event('session.replaced_for_rules');
  const other = await placedSession(run, session, directory, 'recreate');
  const otherIds = await storedIds(run, watch, other, directory, session.justCreated);
  if (await postPrompt(run, otherIds)) return otherIds;
  throw new PolicyNotAppliedError(run.policy.name);
}

/**
 * A session that works in this directory: one cannot be moved, so that another answer of the policy means a new one. All
 * that follows (guard, uploads, status, requests, files) asks for the directory that the session has.
 */
async function placedSession(
  run: TurnRun,
  session: Session,
  directory: string,
  how: Way,
): Promise<SessionRef> {
  for (const way of [how, 'recreate'] as const) {
    const found = await reached(run, session, way);
    const elsewhere = session.justCreated ? undefined : await worksElsewhere(run, directory, found);
    if (elsewhere === undefined) return found;
    run.deps.tracer.event('session.replaced_for_directory');
    run.deps.reporter.report(new UnusableDirectoryError(directory, elsewhere), {
      action: 'session.directory_changed',
      severity: 'warning',
      turnId: run.turn.id,
    });
  }
  throw new UnusableDirectoryError(directory, 'that of another turn');
}

/** What upstream did not answer well is borne for a while; a lock or a database that is away is waited for. */
function reached(run: TurnRun, session: Session, how: Way): Promise<SessionRef> {
  const options = patiently(run);
  const again = (error: unknown) =>
    isAmbiguous(error)
      ? options.again(error)
      : isRetryable(error) && !(error instanceof SessionNotFoundError && how === 'ensure');
  return persevere(() => session[how](run.signal), { ...options, again }, run.signal);
}

/** Ids of a prompt to this session, stored before its POST with what the model will be given. */
async function storedIds(
  run: TurnRun,
  watch: TurnWatch,
  session: SessionRef,
  directory: string,
  isNew: boolean,
): Promise<PromptIds> {
  run.submission.uses(session);
  const ids: PromptIds = {
    sessionId: session.sessionId,
    server: session.server,
    directory: await workplace(run, directory, session),
    ...run.upstream(session.server).newPrompt(),
  };
  const given = promptedWith(await givenBy(run));
  // Both before the POST: the stream is live, and any later owner can ask upstream for these ids.
  await Promise.all([
    watch.attach(ids),
    run.own.write({
      run: { phase: 'prompting', resends: run.submission.resends, startedAt: run.startedAt, ...ids },
      promptedWith: given,
    }),
    isNew ? undefined : waitUntilIdle(run, ids),
  ]);
  run.submission.isWith(given);
  return ids;
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
    clock: deps.clock,
  });
}
