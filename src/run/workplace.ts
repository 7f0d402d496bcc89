import { realpath } from 'node:fs/promises';
import { linkTarget } from '../artifacts/linked-directory.ts';
import { UnusableDirectoryError } from '../errors.ts';
import { persevere } from '../timing/persevere.ts';
import type { SessionRef } from '../turn/stored-turn.ts';
import { patiently } from './patience.ts';
import type { TurnRun } from './turn-run.ts';

/** What of a run is touched here. */
type Run = Pick<
  TurnRun,
  'absence' | 'conversation' | 'deps' | 'own' | 'policy' | 'signal' | 'submission' | 'turn' | 'upstream'
>;

/**
 * The directory that a stored session works in, when it is another one than the policy names today; undefined when it is
 * that one. Known by what was stored at the mint; else the server is asked, once. Throws SessionNotFoundError.
 */
export async function worksElsewhere(
  run: Run,
  directory: string,
  session: SessionRef,
): Promise<string | undefined> {
  if (session.directory === directory) return undefined;
  const real = await realpath(directory).catch(() => directory);
  // Made before that was stored, under a name that is a link: `workplace` judges where it leads.
  if (session.directory === undefined && real !== directory) return undefined;
  const upstream = run.upstream(session.server);
  const ask = () => upstream.session(session.sessionId, run.signal);
  const { directory: made = directory } = await persevere(ask, patiently(run), run.signal);
  if (made !== directory && made !== real) return session.directory ?? made;
  const { sessions } = run.deps;
  await run.own.persist(() => sessions.noteDirectory(run.conversation.id, { ...session, directory }));
  return undefined;
}

/**
 * Where the agent of this session works. A directory of the host's own may be a link: the server has followed it when
 * it made the session, so that is where it leads, and the link must lead there still. One that was put elsewhere since
 * then, perhaps by the agent, is not followed, and none is that leads out of the policy's root. Throws UnusableDirectoryError, SessionNotFoundError.
 */
export async function workplace(run: Run, directory: string, session: SessionRef): Promise<string> {
  const { policy, deps, signal } = run;
  const root = policy.directoryRoot ?? deps.sandboxRoot;
  const target = policy.directory === undefined ? undefined : await linkTarget(directory, root);
  if (target === undefined) return directory;
  const upstream = run.upstream(session.server);
  const ask = () => upstream.session(session.sessionId, signal);
  const { directory: made = target } = await persevere(ask, patiently(run), signal);
  if (made !== target) throw new UnusableDirectoryError(directory, made);
  return target;
}
