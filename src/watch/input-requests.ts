import { fittedRequest } from '../bounds/bounded-request.ts';
import { maxInputRequests } from '../bounds/byte-budget.ts';
import { BadRequestError, InvalidInputError, isAmbiguous } from '../errors.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { checkFits, offeredReplies } from '../turn/check-answer.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { InputAnswer, InputRequest, TurnControl } from '../turn/stored-turn.ts';
import { Approvals } from './approvals.ts';

/** How long the change of a request waits for a database that is away. */
const storeMs = 30_000;
const upstreamRetry = { firstMs: 200, maxMs: 5_000, again: isAmbiguous };

/**
 * Questions and permissions of one turn: stored and told when they open, answered upstream when a person's
 * answer is stored, rejected when their time is over, closed with the turn. Every step may be repeated by the
 * next owner: upstream answers a second reply with "no longer open", which is no error.
 */
export class InputRequests {
  readonly #run: TurnRun;
  readonly #ids: PromptIds;
  readonly #open = new Map<string, InputRequest>();
  readonly #timers = new Map<string, () => void>();
  readonly #sending = new Set<string>();
  readonly approvals: Approvals;
  /** How many requests the turn has had. */
  #count: number;
  /** Aborts when the changes of requests have waited long enough for a database that is away. */
  #storeUntil: AbortSignal | undefined;
  /** One write after the other: a request that closes at once must not be opened again by its first write. */
  #writing = Promise.resolve();

  /** `adopted`: an owner before this one has asked for the prompt. */
  constructor(run: TurnRun, ids: PromptIds, known: readonly InputRequest[], adopted: boolean) {
    this.#run = run;
    this.#ids = ids;
    this.#count = known.length;
    this.approvals = new Approvals(run, ids, known, adopted);
    for (const prompt of known) if (prompt.state === 'open') this.#track(prompt);
    run.defer(() => {
      for (const cancel of this.#timers.values()) cancel();
    });
  }

  /** A request appeared upstream. Known ones change nothing. */
  opened(
    kind: InputRequest['kind'],
    asked: Readonly<Record<string, unknown>> & { id: string; sessionID: string },
  ): void {
    if (this.#open.has(asked.id)) return;
    this.#count += 1;
    if (this.#count > maxInputRequests) {
      this.#run.stop('budget', 'maxInputRequests');
      return;
    }
    const now = this.#run.now();
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

  /** Sends what people have answered meanwhile. */
  async deliver(turn: TurnControl): Promise<void> {
    for (const request of turn.requests) if (request.answer) this.approvals.given(request, request.answer);
    for (const { requestId, state, answer } of turn.requests) {
      if (state === 'open' && answer) await this.#send(requestId, answer);
    }
  }

  /**
   * Nobody can answer any more: closes what is open, and resolves once every change is stored, or a database that is
   * away has been waited for long enough: for all changes together, since the turn's end waits behind them.
   */
  async closeAll(): Promise<void> {
    await within(storeMs, async (signal) => {
      this.#storeUntil = signal;
      for (const requestId of [...this.#open.keys()]) this.settled(requestId, 'closed');
      await unlessAborted(this.#writing, signal).catch(() => undefined);
    });
  }

  #track(request: InputRequest): void {
    const { clock } = this.#run.deps;
    this.#open.set(request.requestId, request);
    if (request.deadlineAt === undefined) return;
    const expire = () => void this.#send(request.requestId, { kind: 'reject' });
    this.#timers.set(request.requestId, clock.setTimer(request.deadlineAt - this.#run.now(), expire));
  }

  #untrack(requestId: string): void {
    this.#open.delete(requestId);
    this.#timers.get(requestId)?.();
    this.#timers.delete(requestId);
  }

  async #send(requestId: string, answer: InputAnswer): Promise<void> {
    const request = this.#open.get(requestId);
    if (!request || this.#sending.has(requestId)) return;
    this.#sending.add(requestId);
    try {
      await this.#run.assertOwned();
      const state = await this.#deliverOne(request, answer);
      if (state) this.settled(requestId, state);
      else this.gone(requestId);
    } catch (error) {
      // The answer stays stored: the next read of the stored turn, or the next owner, sends it again.
      this.#report(error);
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
    const options = { ...upstreamRetry, clock: this.#run.deps.clock };
    try {
      checkFits(request, answer);
      const accepted = await persevere(() => this.#reply(request, answer), options, this.#run.signal);
      return accepted ? stateAfter(answer) : undefined;
    } catch (error) {
      if (answer.kind === 'reject' || !isUnfitting(error)) throw error;
      this.#report(error);
      return this.#deliverOne(request, { kind: 'reject' });
    }
  }

  #reply({ requestId, kind }: InputRequest, answer: InputAnswer): Promise<boolean> {
    const { client } = this.#run.upstream(this.#ids.server);
    const { directory } = this.#ids;
    const { signal } = this.#run;
    if (answer.kind === 'question') return client.replyQuestion(directory, requestId, answer.answers, signal);
    if (answer.kind === 'permission') {
      return client.replyPermission(directory, requestId, answer.reply, answer.message, signal);
    }
    if (kind === 'question') return client.rejectQuestion(directory, requestId, signal);
    return client.replyPermission(directory, requestId, 'reject', undefined, signal);
  }

  #report(error: unknown): void {
    const { deps, turn } = this.#run;
    deps.reporter.report(error, { action: 'turn.answer', severity: 'warning', turnId: turn.id });
  }

  #store(request: InputRequest): void {
    const { turn, deps, followers } = this.#run;
    const { answer: _answer, ...told } = request;
    // Not under the run's signal: a request that closes because the run was stopped must be stored, too.
    const write = () => within(storeMs, (signal) => this.#run.write({ request }, signal), this.#storeUntil);
    this.#writing = this.#writing
      .then(write)
      .catch((error) =>
        deps.reporter.report(error, { action: 'turn.request', severity: 'warning', turnId: turn.id }),
      )
      // Told once it is stored: whoever answers at once must find it.
      .then(() => followers.add({ type: 'request', request: told }));
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
