import { LockHeldError, SessionNotFoundError, UnsupportedServerError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Lock } from '../ports/lock.ts';
import type { SessionStore } from '../ports/session-store.ts';
import type { Upstream } from '../ports/upstream.ts';
import { markIn, type SessionMark } from '../session/mark.ts';
import { lockOfMark } from '../session/session.ts';
import type { Clock } from '../timing/clock.ts';

export interface OrphanSessionsOptions {
  readonly servers: readonly Upstream[];
  readonly sessions: SessionStore;
  readonly lock: Lock;
  readonly prefix: string;
  readonly clock: Clock;
  readonly reporter: ErrorReporter;
  /** Younger sessions are left alone: their mint may be under way. */
  readonly minAgeMs: number;
}

interface Suspect {
  readonly upstream: Upstream;
  readonly sessionId: string;
  readonly mark: SessionMark;
}

/** How far back one sweep looks. An orphan is never used, so its last change is its creation. */
const windowMs = 3_600_000;
/** Sessions looked at per server and sweep, most recently used first. */
const batch = 1_000;

/**
 * Deletes sessions that were minted for a conversation and never stored, because their minter was killed between the
 * two. A session that holds a message is never deleted, nor one of another deployment or of another model's
 * conversation. Returns how many went;
 * errors are reported per server and session.
 */
export async function discardOrphans(options: OrphanSessionsOptions): Promise<number> {
  let discarded = 0;
  for (const upstream of options.servers) {
    for (const suspect of await reported(options, 'find', [], () => suspects(options, upstream)))
      if (await reported(options, 'session', false, () => discard(options, suspect))) discarded += 1;
  }
  return discarded;
}

async function suspects(options: OrphanSessionsOptions, upstream: Upstream): Promise<readonly Suspect[]> {
  const { clock, prefix, sessions, minAgeMs } = options;
  const now = clock.now();
  const marked = (await upstream.sessionsSince(now - windowMs, batch)).flatMap(
    ({ id, metadata, createdAt = now }) => {
      const mark = markIn(metadata);
      const old = createdAt <= now - minAgeMs;
      const ours =
        mark?.prefix === prefix && (mark.collection ?? sessions.collection) === sessions.collection;
      return ours && old ? [{ upstream, sessionId: id, mark }] : [];
    },
  );
  if (marked.length === 0) return [];
  const stored = await sessions.stored(marked.map(({ sessionId }) => sessionId));
  return marked.filter(({ sessionId }) => !stored.has(sessionId));
}

/** Under the conversation's lock no mint is between its two steps, whatever the clocks of the machines say. */
function discard(options: OrphanSessionsOptions, { upstream, sessionId, mark }: Suspect): Promise<boolean> {
  return options.lock.run(lockOfMark(mark), async (signal) => {
    if ((await options.sessions.stored([sessionId])).size > 0) return false;
    if (await upstream.hasMessages(sessionId, signal)) return false;
    signal.throwIfAborted();
    return upstream.deleteSession(sessionId, signal);
  });
}

/**
 * Held: a mint is under way, and the next sweep looks again. Gone: somebody was faster. Unsupported: nothing of ours is
 * there, and each turn that comes there says so.
 */
const quiet = [LockHeldError, SessionNotFoundError, UnsupportedServerError];

async function reported<T>(
  { reporter }: OrphanSessionsOptions,
  what: string,
  otherwise: T,
  fn: () => Promise<T>,
): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    if (!quiet.some((kind) => error instanceof kind))
      reporter.report(error, { action: `orphans.${what}`, severity: 'warning' });
    return otherwise;
  }
}
