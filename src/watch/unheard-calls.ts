import { mayPass } from '../errors.ts';
import { askedFirst } from '../reply/asked-first.ts';
import { callKey } from '../reply/call-key.ts';
import type { Part, ToolPart } from '../reply/part.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';
import { asksForAll } from '../turn/permission-rule.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { InputRequest } from '../turn/stored-turn.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'deps' | 'own' | 'policy' | 'signal' | 'turn' | 'upstream'>;

/** How long a server that does not answer is asked for the rules of its session. */
const rulesMs = 15_000;
const rulesRetry = { firstMs: 200, maxMs: 2_000, again: mayPass };

export interface UnheardCallsOptions {
  readonly run: Run;
  readonly ids: PromptIds;
  /** Done before the turn ends. */
  readonly judge: (work: () => Promise<void>) => void;
  readonly tell: () => void;
}

/**
 * Calls of the turn's own session that were asked for and allowed while nobody of ours listened: a person of ours answers
 * only what is stored, so what has acted, had to ask, and is not stored was allowed by somebody else. Told only where all
 * of that is certain: the server's own tool (`askedFirst`), rules that leave it no other way, and nobody who may have
 * said `always`. A call that the stream has told of is none of these, whatever it asked.
 */
export class UnheardCalls {
  readonly #options: UnheardCallsOptions;
  readonly #matters: boolean;
  /** Calls that are known to go on or to be over, and whether that was learned while nobody listened. */
  readonly #known = new Map<string, boolean>();
  #deaf: boolean;

  /** `told`: what an owner before this one knew. */
  constructor(options: UnheardCallsOptions, told: readonly Part[], deaf: boolean) {
    this.#options = options;
    const { answeredElsewhere, alwaysOffered } = options.run.policy;
    this.#matters = answeredElsewhere !== 'allow' && !alwaysOffered;
    this.#deaf = deaf;
    for (const part of told) if (hasBegun(part)) this.#known.set(callKey(part), false);
  }

  /** The stream is not to be relied on until what it has not told is read. */
  set deaf(deaf: boolean) {
    this.#deaf = deaf;
  }

  /** A part of the turn's own session is new or has changed. */
  seen(part: Part): void {
    if (!this.#matters || !hasBegun(part)) return;
    const key = callKey(part);
    const unheard = this.#known.get(key) ?? this.#deaf;
    const permission = unheard ? askedFirst(part) : undefined;
    this.#known.set(key, unheard && permission === undefined);
    if (permission !== undefined) this.#options.judge(() => this.#judge(part, permission));
  }

  async #judge(part: ToolPart, permission: string): Promise<void> {
    const { run, ids, tell } = this.#options;
    const { deps, turn } = run;
    try {
      const stored = await run.own.persist(() => deps.store.control(turn.id));
      if (!stored || stored.requests.some((request) => isAbout(request, part, permission))) return;
      const upstream = run.upstream(ids.server);
      const read = (limit: AbortSignal) =>
        persevere(() => upstream.session(ids.sessionId, limit), { ...rulesRetry, clock: deps.clock }, limit);
      const session = await within(rulesMs, read, run.signal, deps.clock);
      if (asksForAll(session.rules, permission)) tell();
    } catch (error) {
      // Then it is not certain.
      if (run.signal.aborted) return;
      deps.reporter.report(error, { action: 'turn.approvals', severity: 'warning', turnId: turn.id });
    }
  }
}

/** A call without an id cannot be told from another one. */
const hasBegun = (part: Part): part is ToolPart =>
  part.type === 'tool' && part.status !== 'pending' && part.callId !== '';

/** Whether it may be: what does not say what it is about may be about anything. */
function isAbout(request: InputRequest, { messageId, callId }: ToolPart, permission: string): boolean {
  const { kind, details } = request;
  if (kind !== 'permission' || (request.messageId ?? messageId) !== messageId) return false;
  return (request.callId ?? callId) === callId && (details.permission ?? permission) === permission;
}
