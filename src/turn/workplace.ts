import { linkTarget } from '../artifacts/linked-directory.ts';
import { UnusableDirectoryError } from '../errors.ts';
import type { WireSession } from '../reply/wire.ts';
import { persevere } from '../timing/persevere.ts';
import { patiently } from './patience.ts';
import type { SessionRef } from './stored-turn.ts';
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

/**
 * Throws UnusableDirectoryError when the server has made another folder of the name: a `%20` that it decodes once more
 * than HTTP does, at each of its routes, or a backslash that it takes for a slash in one of two places (1.18.33). The
 * run would go on in that one, or end at once and look as if it had been lost. A link leads elsewhere rightfully.
 */
export function checkMade(directory: string, { directory: made, path }: WireSession): void {
  if (made === undefined || !/[%\\]/.test(directory)) return;
  const decoded = made !== directory && made === decodedOf(directory);
  const onWindows = /^[A-Za-z]:/.test(directory);
  const split = !onWindows && made === directory && path !== undefined && !directory.endsWith(path);
  if (decoded || split) throw new UnusableDirectoryError(directory, split ? `/${path}` : made);
}

function decodedOf(directory: string): string {
  try {
    return decodeURIComponent(directory);
  } catch {
    return directory;
  }
}
