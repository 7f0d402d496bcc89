import { linkTarget } from '../artifacts/linked-directory.ts';
import { UnusableDirectoryError } from '../errors.ts';
import { persevere } from '../timing/persevere.ts';
import type { SessionRef } from '../turn/stored-turn.ts';
import { patiently } from './patience.ts';
import type { TurnRun } from './turn-run.ts';

/**
 * Where the agent of this session works. A directory of the host's own may be a link: the server has followed it when
 * it made the session, so that is where it leads, and the link must lead there still. One that was put elsewhere since
 * then, perhaps by the agent, is not followed, and none is that leads out of the policy's root. Throws UnusableDirectoryError, SessionNotFoundError.
 */
export async function workplace(run: TurnRun, directory: string, session: SessionRef): Promise<string> {
  const { policy, deps, signal } = run;
  const root = policy.directoryRoot ?? deps.sandboxRoot;
  const target = policy.directory === undefined ? undefined : await linkTarget(directory, root);
  if (target === undefined) return directory;
  const { client } = run.upstream(session.server);
  const ask = () => client.getSession(session.sessionId, signal);
  const { directory: made = target } = await persevere(ask, patiently(run), signal);
  if (made !== target) throw new UnusableDirectoryError(directory, made);
  return target;
}
