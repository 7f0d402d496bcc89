import {
  type AbortReason,
  DocumentTooLargeError,
  isRetryable,
  OwnershipLostError,
  ServiceUnavailableError,
  TurnAbortError,
} from '../errors.ts';
import type { Attributes } from '../instrumentation/attributes.ts';
import type { EventName, SpanName } from '../instrumentation/events.ts';
import type { SpanHandle } from '../instrumentation/tracer.ts';
import { FollowerFeed } from '../live/feed.ts';
import type { Fence } from '../ports/turn-store.ts';
import type { Upstream } from '../ports/upstream.ts';
import type { Part } from '../reply/part.ts';
import { Reply } from '../reply/reply.ts';
import { persevere } from '../timing/persevere.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import type { TurnConversation } from '../turn/conversation.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { CompiledPolicy } from '../turn/policy.ts';
import type { SessionRef, StopRef, StoredTurn, TurnPatch } from '../turn/stored-turn.ts';
import { viewOf } from '../turn/stored-view.ts';
import { Autosave } from './autosave.ts';
import type { TurnDeps } from './deps.ts';
import { ServerAbsence } from './server-absence.ts';

const storeRetry = { firstMs: 100, maxMs: 5_000, jitter: 0.3, again: isRetryable };

/**
 * What the steps of one run share: who it is (fence), what it has (reply), whom it tells (followers, snapshot)
 * and how it is stopped. Holds no control flow; `worker/run-turn.ts` has that.
 */
export class TurnRun {
  readonly deps: TurnDeps;
  readonly policy: CompiledPolicy;
  readonly turn: StoredTurn;
  readonly conversation: TurnConversation;
  readonly fence: Fence;
  readonly followers: FollowerFeed;
  readonly snapshot: Autosave;
  /** Aborts with a TurnAbortError, for whatever reason comes first. */
  readonly signal: AbortSignal;
  readonly startedAt: number;
  /** The conversation's session, as this owner knows it. */
  session: SessionRef | undefined;
  /** What the policy allows the agent, once it was asked. */
  rules: readonly PermissionRule[] | undefined;
  reply: Reply | undefined;
  ids: PromptIds | undefined;
  /** What followers had been told by an owner before us; empty for a fresh turn, and when nobody knows. */
  told: readonly Part[] = [];
  /** Names in the agent's directory that are the user's own files. */
  uploadNames: ReadonlySet<string>;
  /** Whether the server answers. */
  readonly absence: ServerAbsence;
  firstTokenAt: number | undefined;
  /** Runs that this turn has aborted and not seen to end. */
  readonly openStops: StopRef[];
  reruns: number;
  resends: number;
  /** The span of the step that the run is in. */
  span: SpanHandle | undefined;
  /** This owner has posted a prompt, whatever came of it. */
  posted = false;
  /** When the model's run was heard to move last, on the monotonic clock. */
  movedAt = Number.NEGATIVE_INFINITY;

  readonly #controller = new AbortController();
  /** Aborts with TurnAbortError `shutdown` or `ownership-lost` when the worker must let go of the turn. */
  readonly owned: AbortSignal;
  readonly #cleanups: (() => void)[] = [];
  readonly #claimedAt: number;
  /** When the claim was answered, on the monotonic clock. */
  readonly #heardAt: number;
  /** Nobody knows how long the answer to the claim was under way. */
  #freshAt = Number.NEGATIVE_INFINITY;

  constructor(
    deps: TurnDeps,
    policy: CompiledPolicy,
    turn: StoredTurn,
    conversation: TurnConversation,
    owned: AbortSignal,
  ) {
    this.deps = deps;
    this.policy = policy;
    this.turn = turn;
    this.conversation = conversation;
    this.session = conversation.session;
    this.fence = { turnId: turn.id, epoch: turn.run.epoch };
    this.#claimedAt = turn.run.claimedAt ?? deps.clock.now();
    this.#heardAt = deps.clock.monotonicMs();
    this.startedAt = turn.run.startedAt ?? this.#claimedAt;
    this.firstTokenAt = turn.run.firstTokenAt;
    this.openStops = [...(turn.run.openStops ?? [])];
    this.reruns = turn.run.reruns;
    this.resends = turn.run.resends;
    this.uploadNames = new Set(turn.run.uploadNames);
    this.owned = owned;
    this.signal = AbortSignal.any([owned, this.#controller.signal]);
    this.followers = new FollowerFeed({
      publisher: deps.publisher,
      fence: this.fence,
      clock: deps.clock,
      reporter: deps.reporter,
      view: viewOf(turn),
      parts: () => this.parts,
      onOwnershipLost: (error) => this.stop('ownership-lost', undefined, error),
    });
    this.snapshot = new Autosave(this);
    this.absence = new ServerAbsence({
      clock: deps.clock,
      limitMs: policy.limits.upstreamAwayMs,
      onAway: () => this.followers.setWaiting(true),
      onBack: () => this.followers.setWaiting(false),
      onLimit: (error) => this.stop('deadline', 'upstreamAwayMs', error),
    });
    this.defer(() => this.absence.close());
    this.#limitTime();
  }

  get parts(): readonly Part[] {
    return this.reply?.result().parts ?? this.turn.parts;
  }

  /** Now by the database's clock, Unix ms: times of a turn make sense to its next owner, however wrong our clock is. */
  now(): number {
    return Math.round(this.#claimedAt + this.deps.clock.monotonicMs() - this.#heardAt);
  }

  /** Calls of this client are noticed: see `absence`. */
  upstream(server?: string): Upstream {
    const { client, feed } = this.deps.upstream(server);
    return { client: this.absence.watch(client), feed };
  }

  /** An event of this run, also when it is told from outside its steps: an event stream is shared by all turns. */
  event(name: EventName, attributes?: Attributes): void {
    if (this.span) this.span.event(name, attributes);
    else this.deps.tracer.event(name, attributes);
  }

  /** A step of the run in a span of its own. */
  step<T>(name: SpanName, attributes: Attributes, fn: () => Promise<T>): Promise<T> {
    return this.deps.tracer.span(name, { attributes }, (span) => {
      this.span = span;
      return fn();
    });
  }

  /** Takes the followers' stream over, from the owner before us if there was one. Throws OwnershipLostError. */
  async openFollowers(): Promise<void> {
    const adopted = this.turn.run.phase !== 'queued';
    if (adopted) {
      this.told = (await this.followers.open()) ?? this.turn.parts;
      this.deps.tracer.event('turn.adopted', { 'turn.epoch': this.fence.epoch });
    } else {
      this.followers.begin();
    }
    this.followers.add({ type: 'progress', progress: adopted ? 'adopted' : 'started' });
  }

  /** Asks the run to end. The first reason wins. */
  stop(reason: AbortReason, detail?: string, cause?: unknown): void {
    this.#controller.abort(new TurnAbortError(reason, detail, { cause }));
  }

  /** Why the run was stopped, or undefined while it was not. Letting go wins over every other reason. */
  get stopped(): TurnAbortError | undefined {
    const signal = this.owned.aborted ? this.owned : this.#controller.signal;
    if (!signal.aborted) return undefined;
    return signal.reason instanceof TurnAbortError ? signal.reason : new TurnAbortError('ownership-lost');
  }

  /**
   * A fenced write. MongoDB away: tried again until `signal` aborts, then ServiceUnavailableError; one that is under
   * way then is waited for no longer. OwnershipLostError means that somebody else owns the turn now: nothing may be
   * touched any more. DocumentTooLargeError ends the turn.
   */
  async write(patch: TurnPatch, signal: AbortSignal = this.signal): Promise<void> {
    let askedAt = 0;
    const write = () => {
      askedAt = this.deps.clock.monotonicMs();
      return this.deps.store.write(this.fence, patch);
    };
    try {
      await this.persist(write, signal);
    } catch (error) {
      this.noteWrite(error);
      throw error;
    }
    // What was true when it was asked may be long over when the answer is read: the process may have been frozen.
    this.#freshAt = askedAt;
  }

  /** The same perseverance for calls that no fence guards. */
  persist<T>(fn: () => Promise<T>, signal: AbortSignal = this.signal): Promise<T> {
    return persevere(() => answered(fn(), signal), { ...storeRetry, clock: this.deps.clock }, signal);
  }

  /** A write that has failed for good ends the turn: whatever else it would do could not be stored either. */
  noteWrite(error: unknown): void {
    if (error instanceof OwnershipLostError) this.stop('ownership-lost', undefined, error);
    else if (error instanceof DocumentTooLargeError) this.stop('budget', 'documentBytes', error);
  }

  /**
   * Before anything is changed upstream or attached: a process that was frozen (or starved) since its last fenced
   * write may have lost the turn without noticing, so it asks again. The loser of that race gets OwnershipLostError and
   * touches nothing.
   */
  async assertOwned(signal: AbortSignal = this.signal): Promise<void> {
    signal.throwIfAborted();
    if (this.deps.clock.monotonicMs() - this.#freshAt < this.deps.fenceFreshMs) return;
    await this.write({}, signal);
  }

  /** Runs at the end of the run, last registered first. */
  defer(cleanup: () => void): void {
    this.#cleanups.push(cleanup);
  }

  /** Ends every timer and subscription; each cleanup runs, whatever the others do. */
  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.reverse()) {
      try {
        cleanup();
      } catch (error) {
        this.deps.reporter.report(error, { action: 'turn.close', turnId: this.turn.id });
      }
    }
    await this.snapshot.close();
    await this.followers.close();
  }

  newReply(ids: PromptIds): Reply {
    this.reply = new Reply({
      sessionId: ids.sessionId,
      promptMessageId: ids.promptMessageId,
      reporter: this.deps.reporter,
    });
    return this.reply;
  }

  #limitTime(): void {
    const { clock } = this.deps;
    const left = this.policy.limits.turnTimeoutMs - Math.max(0, this.now() - this.startedAt);
    this.defer(clock.setTimer(left, () => this.stop('deadline', 'turnTimeoutMs', this.absence.error)));
  }
}

/**
 * The outcome of a call to the database, or ServiceUnavailableError when the signal aborts first: neither the time
 * limit nor a cancel waits for a database that says nothing. What is cut off this way may still be stored, under its
 * fence, before the next write of the run or after it.
 */
async function answered<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await unlessAborted(call, signal);
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    throw new ServiceUnavailableError('mongodb', 'has not answered in time', { cause: error });
  }
}

/** True when the run must let go without another word: somebody else owns the turn, or will. */
export function mustLetGo(run: TurnRun, error: unknown): boolean {
  if (error instanceof OwnershipLostError) return true;
  const reason = run.stopped?.reason;
  return reason === 'shutdown' || reason === 'ownership-lost';
}

export const isServiceAway = (error: unknown): error is ServiceUnavailableError =>
  error instanceof ServiceUnavailableError;
