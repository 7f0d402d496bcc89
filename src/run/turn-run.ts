import type { Attributes } from '../instrumentation/attributes.ts';
import type { EventName, SpanName } from '../instrumentation/events.ts';
import type { SpanHandle } from '../instrumentation/tracer.ts';
import type { Upstream } from '../ports/upstream.ts';
import type { TurnConversation } from '../turn/conversation.ts';
import type { CompiledPolicy } from '../turn/policy.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import { AwayNote } from './away-note.ts';
import type { TurnDeps } from './deps.ts';
import { LiveReply } from './live-reply.ts';
import { Ownership } from './ownership.ts';
import { ServerAbsence } from './server-absence.ts';
import { StopSwitch } from './stop-switch.ts';
import { Submission } from './submission.ts';

/**
 * What the steps of one run share. Nothing here is rewritten: what changes has an owner of its own. A step names the
 * ones that it touches as its type of `run`. Holds no control flow; `worker/run-turn.ts` has that.
 */
export class TurnRun {
  readonly deps: TurnDeps;
  readonly policy: CompiledPolicy;
  readonly turn: StoredTurn;
  readonly conversation: TurnConversation;
  readonly startedAt: number;
  /** Aborts with TurnAbortError `shutdown` or `ownership-lost` when the worker must let go of the turn. */
  readonly letGo: AbortSignal;
  /** Aborts with a TurnAbortError, for whatever reason comes first. */
  readonly signal: AbortSignal;
  readonly stopSwitch: StopSwitch;
  readonly own: Ownership;
  readonly live: LiveReply;
  readonly submission: Submission;
  /** Whether the server answers. */
  readonly absence: ServerAbsence;

  /** The span of the step that the run is in. */
  #span: SpanHandle | undefined;
  readonly #cleanups: (() => void)[] = [];

  constructor(
    deps: TurnDeps,
    policy: CompiledPolicy,
    turn: StoredTurn,
    conversation: TurnConversation,
    letGo: AbortSignal,
  ) {
    this.deps = deps;
    this.policy = policy;
    this.turn = turn;
    this.conversation = conversation;
    this.letGo = letGo;
    this.stopSwitch = new StopSwitch(letGo);
    this.signal = this.stopSwitch.signal;
    this.own = new Ownership(deps, turn, this.stopSwitch);
    this.startedAt = turn.run.startedAt ?? this.own.now();
    this.live = new LiveReply(deps, turn, this.own);
    this.submission = new Submission(turn, conversation);
    const note = new AwayNote(this);
    this.absence = new ServerAbsence({
      clock: deps.clock,
      limitMs: policy.limits.upstreamAwayMs,
      awayForMs: () => note.awayForMs,
      onAway: () => note.away(),
      onBack: () => note.back(),
      onLimit: (error) => this.stopSwitch.stop('deadline', 'upstreamAwayMs', error),
    });
    this.defer(() => this.absence.close());
    this.#limitTime();
  }

  /** What becomes of each request to it is noticed: see `absence`. */
  upstream(server?: string): Upstream {
    return this.absence.watch(this.deps.upstream(server));
  }

  /** An event of this run, also when it is told from outside its steps: an event stream is shared by all turns. */
  event(name: EventName, attributes?: Attributes): void {
    if (this.#span) this.#span.event(name, attributes);
    else this.deps.tracer.event(name, attributes);
  }

  /** A step of the run in a span of its own. */
  step<T>(name: SpanName, attributes: Attributes, fn: () => Promise<T>): Promise<T> {
    return this.deps.tracer.span(name, { attributes }, (span) => {
      this.#span = span;
      return fn();
    });
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
    await this.live.close();
  }

  #limitTime(): void {
    const { clock } = this.deps;
    const left = this.policy.limits.turnTimeoutMs - Math.max(0, this.own.now() - this.startedAt);
    const passed = () => this.stopSwitch.stop('deadline', 'turnTimeoutMs', this.absence.error);
    this.defer(clock.setTimer(left, passed));
  }
}
