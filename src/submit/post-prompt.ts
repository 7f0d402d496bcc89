import type { Prompt } from '../ports/upstream.ts';
import { patiently } from '../run/patience.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import { isPrompted, type PromptIds } from '../turn/phase.ts';
import { applyRules } from './apply-rules.ts';
import { checkServerConfig } from './config-guard.ts';
import { deliverUploads } from './deliver-files.ts';
import { givenBy, notePromptedWith } from './prompted-with.ts';
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
 * At most once whatever becomes of it: see `Upstream.submit`. Throws ServerConfigFilesError, PolicyNotAppliedError,
 * PolicyHookError and upstream's errors.
 */
export async function postPrompt(run: Run, ids: PromptIds): Promise<boolean> {
  await checkServerConfig(run, ids.directory);
  if (!(await applyRules(run, ids, await rulesOf(run)))) return false;
  const upstream = run.upstream(ids.server);
  const prompt = await promptOf(run, ids);
  await notePromptedWith(run, prompt);
  const options = {
    first: !run.submission.posted && !isPrompted(run.turn.run.phase),
    before: async () => {
      await run.own.assert();
      run.submission.posting(ids);
    },
    patience: () => patiently(run),
  };
  await upstream.submit(ids, prompt, options, run.signal);
  await notePrompted(run);
  return true;
}

export async function notePrompted(run: Run): Promise<void> {
  run.live.followers.add({ type: 'progress', progress: 'prompted' });
  await run.own.write({ run: { phase: 'prompted', promptedAt: run.own.now() } });
}

/** Throws SessionNotFoundError when the session itself is gone. */
export async function isUpstream(run: Run, ids: PromptIds): Promise<boolean> {
  const upstream = run.upstream(ids.server);
  return persevere(() => upstream.has(ids, run.signal), patiently(run), run.signal);
}

async function promptOf(run: Run, ids: PromptIds): Promise<Prompt> {
  const given = await givenBy(run);
  return { text: await deliverUploads(run, ids.directory), ...given };
}
