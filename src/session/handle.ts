import path from 'node:path';
import { type HostConfigFile, serverConfigFiles } from '../artifacts/server-config-files.ts';
import { checkCallOptions } from '../checking/check-signal.ts';
import { InvalidInputError, isAmbiguous, ServerConfigFilesError } from '../errors.ts';
import type { Clock } from '../timing/clock.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { checkPermissionRules } from '../turn/check-permission-rules.ts';
import { ownDirectory } from '../turn/conversation-id.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import type { SessionRef } from '../turn/stored-turn.ts';
import { fingerprintOf } from './rules.ts';
import { Session, type SessionContext } from './session.ts';

export interface SessionOptions {
  /** Where the agent of a new session works: an absolute path. Default as for turns, a folder of its own in `sandboxRoot`. */
  readonly directory?: string;
  /** The rules of a new session. None by default; the next turn brings those of its policy. */
  readonly permissions?: readonly PermissionRule[];
  /** Permissions of MCP servers and plugins that rules may name. */
  readonly knownPermissions?: readonly string[];
  /** Settings of the server that you put into the directory yourself; with any other nothing is minted. */
  readonly hostConfigFiles?: readonly HostConfigFile[];
}

export interface SessionCallOptions {
  /** Ends the call with its reason. What was changed by then stays; a session that nobody holds is deleted. */
  readonly signal?: AbortSignal;
}

/** `new-session`: rules of a session can only be added to, and with its older ones these would not hold. */
export type PermissionsUpdate = 'in-force' | 'new-session';

/** How long one of the calls below waits for an OpenCode server, ms. */
const upstreamMs = 60_000;
/** How long `abort` waits until the server is seen idle, ms; twice that for a run that begins late. */
const abortMs = 10_000;
const scanMs = 10_000;

/** What the handles of one process share. @internal */
export interface SessionDeps
  extends Pick<SessionContext, 'prefix' | 'store' | 'lock' | 'upstream' | 'tracer' | 'reporter'> {
  /** Below it a new session's directory lies by default, and no settings of the server are expected above. */
  readonly sandboxRoot: string;
  readonly prepareDirectory: (directory: string) => Promise<void>;
  readonly clock: Clock;
}

/**
 * The OpenCode session of one conversation, for those who look after it beside its turns: turns make and replace it by
 * themselves. All calls may be made while a turn runs; it goes on in the session in which it was prompted. Throws NotFoundError (no
 * such conversation), NewerVersionError, InvalidInputError, ServiceUnavailableError for a database that is away, and
 * what each names.
 */
export class SessionHandle {
  readonly #open: () => Promise<SessionDeps>;
  readonly #conversationId: string;
  readonly #options: SessionOptions;

  /** @internal */
  constructor(open: () => Promise<SessionDeps>, conversationId: string, options: SessionOptions) {
    this.#open = open;
    this.#conversationId = conversationId;
    this.#options = options;
  }

  /** What the conversation holds, or null. No server is asked. */
  async stored(options: SessionCallOptions = {}): Promise<SessionRef | null> {
    checkCallOptions(options);
    const deps = await this.#open();
    return (await unlessAborted(this.#session(deps).stored(), options.signal)) ?? null;
  }

  /**
   * The stored session, or a new one: exactly one, whoever asks at once. Throws LockHeldError, LockUnavailableError, the upstream
   * errors, and ServerConfigFilesError for settings of the server in the directory that are not `hostConfigFiles`.
   */
  ensure(options: SessionCallOptions = {}): Promise<SessionRef> {
    return this.#mint(options, (session, signal) => session.ensure(signal));
  }

  /**
   * A new session in place of the stored one, which stays on the server with what was said in it; the next turn begins without
   * that. Two at once get the same one. Throws as `ensure`.
   */
  recreate(options: SessionCallOptions = {}): Promise<SessionRef> {
    return this.#mint(options, (session, signal) => session.recreate(signal));
  }

  /** The conversation holds no session any more: its next turn mints one. False when it held none. The server is not asked. */
  async forget(options: SessionCallOptions = {}): Promise<boolean> {
    checkCallOptions(options);
    options.signal?.throwIfAborted();
    return this.#session(await this.#open()).forget();
  }

  /**
   * Ends what runs in the stored session, sub-agents included, whoever began it, and resolves once the server is idle: true. False
   * when it was not seen to be in time. To end a turn, cancel it: one whose run is ended from here counts as
   * aborted by somebody else. Without a session: true. Throws InvalidConfigError for one on a server that is not configured.
   */
  async abort(options: SessionCallOptions = {}): Promise<boolean> {
    checkCallOptions(options);
    options.signal?.throwIfAborted();
    const deps = await this.#open();
    const stored = await this.#session(deps).stored();
    if (!stored) return true;
    const { sessionId, server, directory = this.#directory(deps) } = stored;
    const place = { sessionId, directory };
    const { confirmed } = await deps.upstream(server).stop(place, { timeoutMs: abortMs }, options.signal);
    options.signal?.throwIfAborted();
    return confirmed;
  }

  /**
   * Makes these the rules of the stored session and of its sub-agents, until the next turn, which brings those of its policy. A
   * run under way keeps those that it began with (OpenCode 1.18.33). Throws InvalidConfigError for rules that make no sense, InvalidInputError without a session; the server's refusal, and its other errors.
   */
  async updatePermissions(
    permissions: readonly PermissionRule[],
    options: SessionCallOptions = {},
  ): Promise<PermissionsUpdate> {
    checkCallOptions(options);
    checkPermissionRules(permissions, 'permissions', this.#options.knownPermissions);
    const deps = await this.#open();
    const { store, upstream, clock } = deps;
    const stored = await this.#session(deps).stored();
    if (!stored) throw new InvalidInputError('conversation', 'has no session yet: call ensure() first');
    const note = (seen: string | undefined, rules: string) =>
      store.noteRules(this.#conversationId, seen, { ...stored, rules });
    // First: a process that dies behind the change must not leave the next turn with a fingerprint that says otherwise.
    await note(stored.rules, '');
    const again = { firstMs: 200, maxMs: 2_000, again: isAmbiguous, clock };
    const change = { before: async () => options.signal?.throwIfAborted(), patience: () => again };
    const apply = (signal: AbortSignal) =>
      upstream(stored.server).applyRules(stored.sessionId, permissions, change, signal);
    const applied = await within(upstreamMs, apply, options.signal, clock);
    if (applied.kind === 'refused')
      throw applied.cause ?? new InvalidInputError('permissions', 'were not taken by the server as they are');
    if (applied.kind === 'in-force') await note('', fingerprintOf(permissions));
    return applied.kind;
  }

  async #mint(
    options: SessionCallOptions,
    mint: (session: Session, signal: AbortSignal) => Promise<SessionRef>,
  ): Promise<SessionRef> {
    checkCallOptions(options);
    const deps = await this.#open();
    const directory = this.#directory(deps);
    const work = async (limit: AbortSignal) => {
      await deps.prepareDirectory(directory);
      await this.#refuseConfigFiles(deps, directory, limit);
      return mint(this.#session(deps), limit);
    };
    return within(upstreamMs, work, options.signal, deps.clock);
  }

  /** The first request for a directory makes the server read what stands there, and run it with its own rights. */
  async #refuseConfigFiles(
    { sandboxRoot, clock }: SessionDeps,
    directory: string,
    signal: AbortSignal,
  ): Promise<void> {
    const root = directory.startsWith(sandboxRoot + path.sep) ? sandboxRoot : directory;
    const scan = () => serverConfigFiles(directory, root, this.#options.hostConfigFiles ?? []);
    const found = await within(scanMs, (limit) => unlessAborted(scan(), limit), signal, clock);
    if (found.length === 0) return;
    throw new ServerConfigFilesError(found.map((file) => path.relative(directory, file)));
  }

  #session(deps: SessionDeps): Session {
    const { permissions: permission = [] } = this.#options;
    const context = { ...deps, conversationId: this.#conversationId, directory: this.#directory(deps) };
    return new Session({ ...context, ...(permission.length > 0 ? { permission } : {}) });
  }

  #directory(deps: SessionDeps): string {
    return this.#options.directory ?? ownDirectory(deps, deps.store, this.#conversationId);
  }
}

/** Refuses what could not be minted with, before anything is done. Throws InvalidInputError, and InvalidConfigError for the rules. */
export function checkSessionOptions(options: SessionOptions): SessionOptions {
  if (typeof options !== 'object' || options === null)
    throw new InvalidInputError('options', 'must be an object, or left out');
  const { directory, permissions, knownPermissions } = options;
  if (directory !== undefined && (typeof directory !== 'string' || !path.isAbsolute(directory)))
    throw new InvalidInputError('directory', 'must be an absolute path, or left out');
  if (permissions !== undefined) checkPermissionRules(permissions, 'permissions', knownPermissions);
  return { ...options, ...(directory === undefined ? {} : { directory: path.resolve(directory) }) };
}
