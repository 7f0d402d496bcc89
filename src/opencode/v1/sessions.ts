import { ForeignAnswerError } from '../../errors.ts';
import type { MadeSession, NewSession, UpstreamSession } from '../../ports/upstream.ts';
import type { WireSession } from '../../reply/wire.ts';
import { madeElsewhere } from './made-directory.ts';
import type { OpenCode } from './server.ts';

/**
 * Something between us and the server may answer a POST with what it has answered another one: that session is
 * somebody's. A server that keeps no metadata proves nothing. Throws ForeignAnswerError, and what the client throws.
 */
export async function createSession(
  client: Pick<OpenCode, 'createSession'>,
  given: NewSession,
  signal?: AbortSignal,
): Promise<MadeSession> {
  const made = await client.createSession(given, signal);
  if (made.metadata !== undefined && !isMarked(made.metadata, given.metadata)) {
    const facts = { method: 'POST', path: '/session', status: 200 };
    throw new ForeignAnswerError(`named ${made.id}, which was made for another request`, facts);
  }
  const elsewhere = madeElsewhere(given.directory, made);
  return { ...sessionOf(made), ...(elsewhere === undefined ? {} : { elsewhere }) };
}

const isMarked = (metadata: Readonly<Record<string, unknown>>, mark: NewSession['metadata']): boolean =>
  Object.entries(mark).every(([key, value]) => metadata[key] === value);

export function sessionOf({ id, directory, metadata, permission = [], time }: WireSession): UpstreamSession {
  return {
    id,
    rules: permission,
    ...(directory === undefined ? {} : { directory }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(time === undefined ? {} : { createdAt: time.created }),
  };
}
