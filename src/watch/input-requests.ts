import { fittedRequest } from '../bounds/bounded-request.ts';
import { maxPrompts } from '../bounds/byte-budget.ts';
import { BadRequestError, InvalidInputError, isAmbiguous } from '../errors.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { checkFits, offeredReplies } from '../turn/check-answer.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { PromptAnswer, StoredPrompt, TurnWishes } from '../turn/stored-turn.ts';
import { Approvals } from './approvals.ts';

/** How long the change of a prompt waits for a database that is away. */
const storeMs = 30_000;
const upstreamRetry = { firstMs: 200, maxMs: 5_000, again: isAmbiguous };

/**
 * Questions and permissions of one turn: stored and told when they open, answered upstream when a person's
 * answer is stored, rejected when their time is over, closed with the turn. Every step may be repeated by the
 * next owner: upstream answers a second reply with "no longer open", which is no error.
 */
export class Interactive {
  readonly #run: TurnRun;
  readonly #ids: PromptIds;
  readonly #open = new Map<string, StoredPrompt>();
  readonly #timers = new Map<string, () => void>();
  readonly #sending = new Set<string>();
  readonly approvals: Approvals;
  /** How many prompts the turn has had. */
  #count: number;
  /** Aborts when the changes of prompts have waited long enough for a database that is away. */
  #storeUntil: AbortSignal | undefined;
  /** One write after the other: a prompt that closes at once must not be opened again by its first write. */
  #writing = Promise.resolve();

  /** `adopted`: an owner before this one has asked for the prompt. */
  constructor(run: TurnRun, ids: PromptIds, known: readonly StoredPrompt[], adopted: boolean) {
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
    kind: StoredPrompt['kind'],
    request: Readonly<Record<string, unknown>> & { id: string; sessionID: string },
  ): void {
    if (this.#open.has(request.id)) return;
    this.#count += 1;
    if (this.#count > maxPrompts) {
      this.#run.stop('budget', 'maxPrompts');
      return;
    }
    const now = this.#run.now();
    const prompt: StoredPrompt = {
      requestId: request.id,
      kind,
      sessionId: request.sessionID,
      request: fittedRequest(request),
      askedAt: now,
      deadlineAt: now + this.#run.policy.limits.promptTimeoutMs,
      state: 'open',
      ...callOf(request),
      ...(kind === 'permission' ? { replies: offeredReplies(this.#run.policy) } : {}),
    };
    this.#track(prompt);
    this.#store(prompt);
  }

  /** Upstream says that a request ended, whoever answered it. */
  settled(requestId: string, state: 'answered' | 'rejected' | 'closed'): void {
    const prompt = this.#open.get(requestId);
    if (!prompt) return;
    this.#untrack(requestId);
    this.#store({ ...prompt, state });
  }

  /** Upstream tells what was replied to a permission, or that a question was answered, whoever did. */
  replied(requestId: string, reply?: string): void {
    const prompt = this.#open.get(requestId);
    this.settled(requestId, reply === 'reject' ? 'rejected' : 'answered');
    if (prompt) this.approvals.replied(prompt, reply);
  }

  /** The tool call that asked is over, and nobody has told what was replied. */
  callEnded(requestId: string): void {
    const prompt = this.#open.get(requestId);
    this.settled(requestId, 'closed');
    if (prompt) this.approvals.vanished(prompt);
  }

  /**
   * Upstream has the request no more, and nobody has said why. With an answer that this owner or one before us may have
   * sent, that is why.
   */
  gone(requestId: string): void {
    const prompt = this.#open.get(requestId);
    const answer = this.approvals.answerTo(requestId);
    this.settled(requestId, answer ? stateAfter(answer) : 'closed');
    if (prompt) this.approvals.vanished(prompt);
  }

  /** Ids of the requests that wait for a person. */
  get waiting(): ReadonlySet<string> {
    return new Set(this.#open.keys());
  }

  /** Sends what people have answered meanwhile. */
  async deliver(turn: TurnWishes): Promise<void> {
    for (const prompt of turn.prompts) if (prompt.answer) this.approvals.given(prompt, prompt.answer);
    for (const { requestId, state, answer } of turn.prompts) {
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

  #track(prompt: StoredPrompt): void {
    const { clock } = this.#run.deps;
    this.#open.set(prompt.requestId, prompt);
    if (prompt.deadlineAt === undefined) return;
    const expire = () => void this.#send(prompt.requestId, { kind: 'reject' });
    this.#timers.set(prompt.requestId, clock.setTimer(prompt.deadlineAt - this.#run.now(), expire));
  }

  #untrack(requestId: string): void {
    this.#open.delete(requestId);
    this.#timers.get(requestId)?.();
    this.#timers.delete(requestId);
  }

  async #send(requestId: string, answer: PromptAnswer): Promise<void> {
    const prompt = this.#open.get(requestId);
    if (!prompt || this.#sending.has(requestId)) return;
    this.#sending.add(requestId);
    try {
      await this.#run.assertOwned();
      const state = await this.#deliverOne(prompt, answer);
      if (state) this.settled(requestId, state);
      else this.gone(requestId);
    } catch (error) {
      // The answer stays stored: the next read of the wishes, or the next owner, sends it again.
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
    prompt: StoredPrompt,
    answer: PromptAnswer,
  ): Promise<'answered' | 'rejected' | undefined> {
    const options = { ...upstreamRetry, clock: this.#run.deps.clock };
    try {
      checkFits(prompt, answer);
      const accepted = await persevere(() => this.#reply(prompt, answer), options, this.#run.signal);
      return accepted ? stateAfter(answer) : undefined;
    } catch (error) {
      if (answer.kind === 'reject' || !isUnfitting(error)) throw error;
      this.#report(error);
      return this.#deliverOne(prompt, { kind: 'reject' });
    }
  }

  #reply({ requestId, kind }: StoredPrompt, answer: PromptAnswer): Promise<boolean> {
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

  #store(prompt: StoredPrompt): void {
    const { turn, deps, followers } = this.#run;
    const { answer: _answer, ...told } = prompt;
    // Not under the run's signal: a prompt that closes because the run was stopped must be stored, too.
    const write = () => within(storeMs, (signal) => this.#run.write({ prompt }, signal), this.#storeUntil);
    this.#writing = this.#writing
      .then(write)
      .catch((error) =>
        deps.reporter.report(error, { action: 'turn.prompt', severity: 'warning', turnId: turn.id }),
      )
      // Told once it is stored: whoever answers at once must find it.
      .then(() => followers.add({ type: 'prompt', prompt: told }));
  }
}

const isUnfitting = (error: unknown) =>
  error instanceof InvalidInputError || (error instanceof BadRequestError && error.facts.status === 400);

function stateAfter(answer: PromptAnswer): 'answered' | 'rejected' {
  const rejects = answer.kind === 'reject' || (answer.kind === 'permission' && answer.reply === 'reject');
  return rejects ? 'rejected' : 'answered';
}

function callOf({ tool }: Readonly<Record<string, unknown>>): Pick<StoredPrompt, 'messageId' | 'callId'> {
  if (typeof tool !== 'object' || tool === null) return {};
  const { messageID, callID } = tool as Readonly<Record<string, unknown>>;
  return {
    ...(typeof messageID === 'string' ? { messageId: messageID } : {}),
    ...(typeof callID === 'string' ? { callId: callID } : {}),
  };
}
