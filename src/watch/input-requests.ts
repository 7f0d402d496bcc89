import { fittedRequest } from '../bounds/bounded-request.ts';
import { maxInputRequests } from '../bounds/byte-budget.ts';
import { BadRequestError, InvalidInputError, mayPass } from '../errors.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { checkFits, offeredReplies } from '../turn/check-answer.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { InputAnswer, InputRequest, TurnControl } from '../turn/stored-turn.ts';
import { answerUpstream } from './answer-upstream.ts';
import { Approvals } from './approvals.ts';

/** What of a run is touched here. */
type Run = Pick<
  TurnRun,
  | 'absence'
  | 'defer'
  | 'deps'
  | 'live'
  | 'own'
  | 'policy'
  | 'signal'
  | 'stopSwitch'
  | 'submission'
  | 'turn'
  | 'upstream'
>;

/** How long the change of a request waits for a database that is away. */
const storeMs = 30_000;

/**
 * Questions and permissions of one turn: stored and told when they open, answered upstream when a person's
 * answer is stored, rejected when their time is over, closed with the turn. Every step may be repeated by the
 * next owner: upstream answers a second reply with "no longer open", which is no error.
 */
export class InputRequests {
  readonly #run: Run;
  readonly #ids: PromptIds;
  readonly #open = new Map<string, InputRequest>();
  readonly #timers = new Map<string, () => void>();
  readonly #sending = new Set<string>();
  readonly #onLost: (error: unknown) => void;
  readonly #over = new AbortController();
  readonly approvals: Approvals;
  /** Ends its being counted among the turns that wait for people. */
  #leave: (() => void) | undefined;
  /** How many requests the turn has had. */
  #count: number;
  /** Aborts when the changes of requests have waited long enough for a database that is away. */
  #storeUntil: AbortSignal | undefined;
  /** One write after the other: a request that closes at once must not be opened again by its first write. */
  #writing = Promise.resolve();

  /**
   * `adopted`: an owner before this one has asked for the prompt. `onLost`: upstream does not take what a person answered,
   * and waits for it.
   */
  constructor(
    run: Run,
    ids: PromptIds,
    known: readonly InputRequest[],
    adopted: boolean,
    onLost: (error: unknown) => void,
  ) {
    this.#run = run;
    this.#onLost = onLost;
    this.#ids = ids;
    this.#count = known.length;
    this.approvals = new Approvals(run, ids, known, adopted);
    for (const prompt of known) if (prompt.state === 'open') this.#track(prompt);
    run.defer(() => this.end());
  }

  /** No time runs out any more, and what is on its way upstream is given up. */
  end(): void {
    this.#over.abort();
    this.#stopWaiting();
    for (const cancel of this.#timers.values()) cancel();
  }

  /** A request appeared upstream. Known ones change nothing. */
  opened(
    kind: InputRequest['kind'],
    asked: Readonly<Record<string, unknown>> & { id: string; sessionID: string },
  ): void {
    if (this.#open.has(asked.id)) return;
    this.#count += 1;
    if (this.#count > maxInputRequests) {
      this.#run.stopSwitch.stop('budget', 'maxInputRequests');
      return;
    }
    const now = this.#run.own.now();
    const request: InputRequest = {
      requestId: asked.id,
      kind,
      sessionId: asked.sessionID,
      details: fittedRequest(asked),
      askedAt: now,
      deadlineAt: now + this.#run.policy.limits.inputTimeoutMs,
      state: 'open',
      ...callOf(asked),
      ...(kind === 'permission' ? { replies: offeredReplies(this.#run.policy) } : {}),
    };
    this.#track(request);
    this.#store(request);
  }

  /** Upstream says that a request ended, whoever answered it. */
  settled(requestId: string, state: 'answered' | 'rejected' | 'closed'): void {
    const request = this.#open.get(requestId);
    if (!request) return;
    this.#untrack(requestId);
    this.#store({ ...request, state });
  }

  /** Upstream tells what was replied to a permission, or that a question was answered, whoever did. */
  replied(requestId: string, reply?: string): void {
    const request = this.#open.get(requestId);
    this.settled(requestId, reply === 'reject' ? 'rejected' : 'answered');
    if (request) this.approvals.replied(request, reply);
  }

  /** The tool call that asked is over, and nobody has told what was replied. */
  callEnded(requestId: string): void {
    const request = this.#open.get(requestId);
    this.settled(requestId, 'closed');
    if (request) this.approvals.vanished(request);
  }

  /**
   * Upstream has the request no more, and nobody has said why. With an answer that this owner or one before us may have
   * sent, that is why.
   */
  gone(requestId: string): void {
    const request = this.#open.get(requestId);
    const answer = this.approvals.answerTo(requestId);
    this.settled(requestId, answer ? stateAfter(answer) : 'closed');
    if (request) this.approvals.vanished(request);
  }

  /** Ids of the requests that wait for a person. */
  get waiting(): ReadonlySet<string> {
    return new Set(this.#open.keys());
  }

  /** Sends what people have answered meanwhile, and waits for nothing: a cancel may be the next that is read. */
  deliver(turn: TurnControl): void {
    for (const request of turn.requests) if (request.answer) this.approvals.given(request, request.answer);
    for (const { requestId, state, answer } of turn.requests) {
      if (state === 'open' && answer) void this.#send(requestId, answer);
    }
  }

  /**
   * Nobody can answer any more: closes what is open, and resolves once every change is stored, or a database that is
   * away has been waited for long enough: for all changes together, since the turn's end waits behind them.
   */
  async closeAll(): Promise<void> {
    this.end();
    await within(storeMs, async (signal) => {
      this.#storeUntil = signal;
      for (const requestId of [...this.#open.keys()]) this.settled(requestId, 'closed');
      await unlessAborted(this.#writing, signal).catch(() => undefined);
    });
  }

  #track(request: InputRequest): void {
    const { clock, levels } = this.#run.deps;
    this.#open.set(request.requestId, request);
    if (!this.#over.signal.aborted) this.#leave ??= levels.waitingForPeople.enter();
    if (request.deadlineAt === undefined) return;
    const expire = () => void this.#send(request.requestId, { kind: 'reject' });
    this.#timers.set(request.requestId, clock.setTimer(request.deadlineAt - this.#run.own.now(), expire));
  }

  #untrack(requestId: string): void {
    this.#open.delete(requestId);
    if (this.#open.size === 0) this.#stopWaiting();
    this.#timers.get(requestId)?.();
    this.#timers.delete(requestId);
  }

  #stopWaiting(): void {
    this.#leave?.();
    this.#leave = undefined;
  }

  async #send(requestId: string, answer: InputAnswer): Promise<void> {
    const request = this.#open.get(requestId);
    if (!request || this.#sending.has(requestId)) return;
    this.#sending.add(requestId);
    try {
      await this.#run.own.assert();
      const state = await this.#deliverOne(request, answer);
      if (state) this.settled(requestId, state);
      else this.gone(requestId);
    } catch (error) {
      if (this.#over.signal.aborted) return;
      this.#report(error);
      // Without it upstream waits for ever. What else fails is ours: the answer stays stored, and the next read of the
      // stored turn, or the next owner, sends it again.
      if (!this.#run.signal.aborted && mayPass(error)) this.#onLost(error);
    } finally {
      this.#sending.delete(requestId);
    }
  }

  /**
   * Undefined when the request is not open any more. What is stored may be no answer to it, whoever stored it: refused
   * once, it would be refused for ever, and upstream would wait with it. Then nobody has answered.
   */
  async #deliverOne(
    request: InputRequest,
    answer: InputAnswer,
  ): Promise<'answered' | 'rejected' | undefined> {
    const signal = AbortSignal.any([this.#run.signal, this.#over.signal]);
    try {
      checkFits(request, answer);
      const accepted = await answerUpstream(this.#run, this.#ids, request, answer, signal);
      return accepted ? stateAfter(answer) : undefined;
    } catch (error) {
      if (answer.kind === 'reject' || !isUnfitting(error)) throw error;
      this.#report(error);
      return this.#deliverOne(request, { kind: 'reject' });
    }
  }

  #report(error: unknown): void {
    const { deps, turn } = this.#run;
    deps.reporter.report(error, { action: 'turn.answer', severity: 'warning', turnId: turn.id });
  }

  #store(request: InputRequest): void {
    const { turn, deps, live } = this.#run;
    const { answer: _answer, ...told } = request;
    // Not under the run's signal: a request that closes because the run was stopped must be stored, too.
    const write = () =>
      within(storeMs, (signal) => this.#run.own.write({ request }, signal), this.#storeUntil);
    this.#writing = this.#writing
      .then(write)
      .catch((error) =>
        deps.reporter.report(error, { action: 'turn.request', severity: 'warning', turnId: turn.id }),
      )
      // Told once it is stored: whoever answers at once must find it.
      .then(() => live.followers.add({ type: 'request', request: told }));
  }
}

const isUnfitting = (error: unknown) =>
  error instanceof InvalidInputError || (error instanceof BadRequestError && error.facts.status === 400);

function stateAfter(answer: InputAnswer): 'answered' | 'rejected' {
  const rejects = answer.kind === 'reject' || (answer.kind === 'permission' && answer.reply === 'reject');
  return rejects ? 'rejected' : 'answered';
}

function callOf({ tool }: Readonly<Record<string, unknown>>): Pick<InputRequest, 'messageId' | 'callId'> {
  if (typeof tool !== 'object' || tool === null) return {};
  const { messageID, callID } = tool as Readonly<Record<string, unknown>>;
  return {
    ...(typeof messageID === 'string' ? { messageId: messageID } : {}),
    ...(typeof callID === 'string' ? { callId: callID } : {}),
  };
}
