import { randomUUID } from 'node:crypto';
import {
  ConflictError,
  InvalidConfigError,
  isAmbiguous,
  LockHeldError,
  LockLostError,
  LockUnavailableError,
  SessionNotFoundError,
  UnusableDirectoryError,
  type UpstreamFacts,
} from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Tracer } from '../instrumentation/tracer.ts';
import type { Lock } from '../ports/lock.ts';
import type { ConversationSession, SessionStore } from '../ports/session-store.ts';
import type { MadeSession, Upstream, UpstreamSession } from '../ports/upstream.ts';
import { type Clock, delay, systemClock } from '../timing/clock.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { safeName } from '../turn/conversation-id.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import type { SessionRef } from '../turn/stored-turn.ts';
import { isMadeBy, markIn, metadataOf, type SessionMark } from './mark.ts';
import { fingerprintOf } from './rules.ts';

/** How long each step of the clean-up of a session that nobody owns may take. */
const cleanupMs = 5_000;
const cleanupRetry = { firstMs: 100, maxMs: 1_000, again: isAmbiguous };
const secondReadMs = 1_000;
/** Name of the lock around a conversation's mint; the conversation as its mark names it. */
export const lockOfMark = ({ conversation }: Pick<SessionMark, 'conversation'>): string =>
  `session:${conversation}`;
export const sessionLock = (conversationId: string): string =>
  lockOfMark({ conversation: safeName(conversationId) });

export interface SessionContext {
  readonly conversationId: string;
  /** What the conversation held a moment ago, if the caller has just read it: saves the first read of `ensure`. */
  readonly known?: SessionRef | undefined;
  /** Key prefix of the deployment, by which its sessions are told from another's. */
  readonly prefix: string;
  readonly store: SessionStore;
  readonly lock: Lock;
  /** The server a stored session lives on; without a name, one for new sessions. */
  readonly upstream: (server?: string) => Upstream;
  readonly directory: string;
  /** The rules that a session minted by this object has. None by default. */
  readonly permission?: readonly PermissionRule[];
  readonly tracer: Tracer;
  readonly reporter: ErrorReporter;
  readonly clock?: Clock;
}

/**
 * The upstream session of one conversation. At most one is ever stored, and upstream keeps none that no conversation points
 * to: whatever goes wrong between creating and storing, the new one is deleted before the error goes on.
 *
 * Three lines of defence: the conversation's lock makes racing minters rare; the compare-and-set on the id that was
 * seen lets one of them win when the lock failed; the unique index keeps two conversations from sharing one.
 */
export class Session {
  readonly #options: SessionContext;
  #known: SessionRef | undefined;
  #justCreated = false;

  constructor(options: SessionContext) {
    this.#options = options;
    this.#known = options.known;
  }

  /** True when the last `ensure` or `recreate` of this object really minted the session that it answered. */
  get justCreated(): boolean {
    return this.#justCreated;
  }

  /**
   * The stored session, without any lock when there is one whose server is configured; else one minted under the lock, or what somebody else has
   * stored by the time that the lock could not be had. Throws NotFoundError (conversation gone), LockHeldError,
   * LockUnavailableError, LockLostError, ServiceUnavailableError, ConflictError, and upstream's errors. An abort
   * rejects with its reason.
   */
  async ensure(signal?: AbortSignal): Promise<SessionRef> {
    this.#justCreated = false;
    const known = this.#known;
    // Good for one answer: whoever asks again has found out that it was not.
    this.#known = undefined;
    const stored = known ?? (await this.stored());
    if (stored && this.#isReachable(stored)) return stored;
    return this.#lockedUnless((found) => this.#isReachable(found), signal);
  }

  /** A session newer than the one stored now. Two at once converge on one. Throws as `ensure`. */
  async recreate(signal?: AbortSignal): Promise<SessionRef> {
    this.#justCreated = false;
    const seen = (await this.stored())?.sessionId;
    return this.#lockedUnless((stored) => stored.sessionId !== seen, signal);
  }

  /** What the conversation holds now. Throws NotFoundError, ServiceUnavailableError. */
  async stored(): Promise<SessionRef | undefined> {
    return refIn(await this.#options.store.session(this.#options.conversationId));
  }

  /**
   * The conversation holds none any more, until somebody mints one; what was said in it stays upstream. False when it held none.
   * One that was minted meanwhile stays: the session that is forgotten is the one of the call.
   */
  async forget(): Promise<boolean> {
    const { store, conversationId } = this.#options;
    this.#known = undefined;
    const stored = await this.stored();
    if (!stored) return false;
    await store.swap(conversationId, stored.sessionId, null);
    return true;
  }

  /** Of many that wait for the lock the last may wait too long, for what the first has stored: only a mint needs it. */
  async #lockedUnless(good: (stored: SessionRef) => boolean, signal?: AbortSignal): Promise<SessionRef> {
    const { lock, conversationId } = this.#options;
    try {
      return await lock.run(sessionLock(conversationId), (lease) => this.#mintUnless(good, lease), signal);
    } catch (error) {
      if (!(error instanceof LockHeldError || error instanceof LockUnavailableError)) throw error;
      const stored = await this.stored();
      if (stored && good(stored)) return stored;
      throw error;
    }
  }

  /** Reads again under the lock: whoever had it before may have minted what we want. */
  async #mintUnless(good: (stored: SessionRef) => boolean, signal: AbortSignal): Promise<SessionRef> {
    const { store, conversationId, tracer } = this.#options;
    const conversation = await store.session(conversationId);
    const { sessionId, title } = conversation;
    const stored = refIn(conversation);
    if (stored && good(stored)) return stored;
    if (stored && !this.#isReachable(stored)) {
      tracer.event('session.replaced_for_server');
      this.#report(serverGone(stored), 'session.server_gone', stored.sessionId);
    }
    try {
      return await tracer.span('session.mint', {}, () => this.#mint(sessionId, title, signal));
    } catch (error) {
      // Without the lock somebody else may have minted meanwhile: then theirs is the answer.
      const winner = error instanceof LockLostError && (await this.#storedOtherThan(sessionId));
      if (winner) return winner;
      throw error;
    }
  }

  async #mint(expected: string | null, title: string, signal: AbortSignal): Promise<SessionRef> {
    const { store, conversationId, tracer } = this.#options;
    const upstream = this.#options.upstream();
    const session = await this.#create(upstream, title, signal);
    const { id: sessionId } = session;
    const { permission = [], directory } = this.#options;
    const minted = { sessionId, server: upstream.server, rules: fingerprintOf(permission), directory };
    try {
      signal.throwIfAborted();
      if (await store.swap(conversationId, expected, minted)) {
        this.#justCreated = true;
        tracer.event('opencode.session.created');
        return minted;
      }
    } catch (error) {
      // The answer to our own write may have been lost: a session that the conversation points to is kept.
      if (await this.#isStored(sessionId)) {
        this.#justCreated = true;
        return minted;
      }
      await this.#discard(upstream, session);
      throw error;
    }
    // The lock had failed and another minter was first. Ours goes, theirs is the answer.
    await this.#discard(upstream, session);
    const winner = await this.#storedOtherThan(expected);
    if (winner) return winner;
    throw new ConflictError('the session changed while it was stored', ['opencodeSessionId']);
  }

  /**
   * Creates upstream. An abort does not cut the POST, which might leave a session that nobody knows: its answer
   * is waited for a while, and deleted whenever it comes. After a failure that may have made a session, that one
   * is looked for by the mint's own mark.
   */
  async #create(upstream: Upstream, title: string, signal: AbortSignal): Promise<MadeSession> {
    const { conversationId, prefix, directory, permission, store } = this.#options;
    const mint = randomUUID();
    const metadata = metadataOf({
      prefix,
      conversation: safeName(conversationId),
      mint,
      collection: store.collection,
    });
    signal.throwIfAborted();
    const created = upstream.createSession({
      title,
      directory,
      metadata,
      ...(permission ? { permission } : {}),
    });
    try {
      const session = await unlessAborted(created, signal);
      if (session.elsewhere !== undefined) throw new UnusableDirectoryError(directory, session.elsewhere);
      return session;
    } catch (error) {
      const undone = created.then(
        (session) =>
          isMadeBy(mint, session) ? this.#discard(upstream, session) : this.#discardMint(upstream, mint),
        (failure) => (mayHaveMade(failure) ? this.#discardMint(upstream, mint) : undefined),
      );
      await this.#within((limit) => unlessAborted(undone, limit)).catch(() => undefined);
      throw error;
    }
  }

  /** A session on a server that is not configured any more can neither be asked nor stopped, by this turn or a later one. */
  #isReachable({ server }: SessionRef): boolean {
    try {
      return this.#options.upstream(server) !== undefined;
    } catch (error) {
      if (error instanceof InvalidConfigError) return false;
      throw error;
    }
  }

  async #storedOtherThan(sessionId: string | null): Promise<SessionRef | undefined> {
    const stored = await this.stored();
    return stored && stored.sessionId !== sessionId ? stored : undefined;
  }

  async #isStored(sessionId: string): Promise<boolean> {
    try {
      return (await this.stored())?.sessionId === sessionId;
    } catch {
      return false;
    }
  }

  /**
   * Deletes what this mint has made and no conversation holds; whatever is not surely that stays. What stays and is an
   * orphan after all is the sweeper's. Best effort, with a limit of its own: the signal that brought us here may be
   * aborted already. Never throws.
   */
  async #discard(upstream: Upstream, { id, metadata }: UpstreamSession): Promise<void> {
    try {
      // Without a mark nobody can say whose it is.
      if (!markIn(metadata)) return;
      const holders = await this.#within((limit) => unlessAborted(this.#options.store.stored([id]), limit));
      if (holders.size > 0) return;
      await this.#patiently((limit) => upstream.deleteSession(id, limit));
    } catch (error) {
      if (!(error instanceof SessionNotFoundError)) this.#report(error, 'session.discard', id);
    }
  }

  /** Asks twice: a server that was cut off in the middle may not have finished making it. Never throws. */
  async #discardMint(upstream: Upstream, mint: string): Promise<void> {
    try {
      for (let attempt = 0; attempt < 2; attempt += 1) {
        if (attempt > 0) await delay(secondReadMs, this.#options.clock);
        const sessions = await this.#patiently((limit) =>
          upstream.sessionsIn(this.#options.directory, limit),
        );
        const ours = sessions.filter((session) => isMadeBy(mint, session));
        for (const session of ours) await this.#discard(upstream, session);
        if (ours.length > 0) return;
      }
    } catch (error) {
      this.#report(error, 'session.discard');
    }
  }

  /** What cut the mint off may cut its clean-up off, too. What is left after that is the sweeper's. */
  #patiently<T>(ask: (limit: AbortSignal) => Promise<T>): Promise<T> {
    const { clock = systemClock } = this.#options;
    return this.#within((limit) => persevere(() => ask(limit), { ...cleanupRetry, clock }, limit));
  }

  #within<T>(fn: (limit: AbortSignal) => Promise<T>): Promise<T> {
    return within(cleanupMs, fn, undefined, this.#options.clock);
  }

  #report(error: unknown, action: string, sessionId?: string): void {
    const { reporter, conversationId } = this.#options;
    reporter.report(error, {
      action,
      severity: 'warning',
      conversationId,
      ...(sessionId === undefined ? {} : { sessionId }),
    });
  }
}

const serverGone = ({ server }: SessionRef) =>
  new InvalidConfigError(
    'opencode',
    `a session lives on ${server}, which is not configured here; its conversation gets a new one`,
  );

/** A session may be there that nobody knows. Not when a question in front of the POST failed: nothing was posted then. */
function mayHaveMade(failure: unknown): boolean {
  return isAmbiguous(failure) && (failure as { facts?: UpstreamFacts }).facts?.method === 'POST';
}

function refIn({ sessionId, server, rules, directory }: ConversationSession): SessionRef | undefined {
  if (!sessionId || !server) return undefined;
  return { sessionId, server, ...(rules ? { rules } : {}), ...(directory ? { directory } : {}) };
}
