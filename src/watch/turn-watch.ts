import { IdleStreamError, IllegalStateError, isTurnsError, SessionNotFoundError } from '../errors.ts';
import type { FollowedPrompt, Heard, UpstreamReading } from '../ports/upstream.ts';
import type { FinalVerdict, OpenVerdict, Verdict } from '../ports/verdict.ts';
import type { Exchange } from '../reply/exchange.ts';
import type { Reply } from '../reply/reply.ts';
import { Patience } from '../run/patience.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { within } from '../timing/time-limit.ts';
import { Wakeup } from '../timing/wakeup.ts';
import { isLostPrompt, type PromptIds } from '../turn/phase.ts';
import type { TurnFailure } from '../turn/stored-turn.ts';
import { ForeignPrompts } from './foreign-prompts.ts';
import { InputRequests } from './input-requests.ts';
import { wasLost } from './lost-run.ts';
import { observeReply } from './observe.ts';
import { Settling } from './settling.ts';
import { StallWatch } from './stall.ts';

/** How following ended. `lost`: the server does not know the run any more. `gone`: the session neither. */
export type WatchEnd =
  | {
      readonly kind: 'completed' | 'empty' | 'aborted' | 'lost' | 'overtaken';
      readonly exchange: Exchange;
    }
  | { readonly kind: 'failed'; readonly exchange: Exchange; readonly failure: TurnFailure }
  | { readonly kind: 'gone' | 'stale' };

const silentPollMs = 15_000;
const streamDownPollMs = 2_000;
/** How long a prompt waits for its stream; then polls alone have to do until it comes. */
const streamWaitMs = 10_000;

/**
 * Follows one prompt to its end. Stream and poll are one truth: events fill the reply and say when to poll,
 * only a poll ends the turn. Polls on connect, after a gap, on idle, on errors, and now and then while silent,
 * so no single lost event can hang or cut a turn.
 */
export class TurnWatch {
  readonly #run: TurnRun;
  readonly #wakeup: Wakeup;
  readonly #patience: Patience;
  #attached = false;
  #followed: FollowedPrompt | undefined;
  #requests: InputRequests | undefined;
  #live = false;
  #pollDue = true;
  #rebuild = false;
  #lastEventAt = 0;
  /** Upstream waits for an answer that it does not take. */
  #answerLost: { readonly error: unknown } | undefined;
  #stall: StallWatch;
  readonly #foreign: ForeignPrompts;

  constructor(run: TurnRun) {
    this.#run = run;
    this.#foreign = new ForeignPrompts(run);
    this.#wakeup = new Wakeup(run.deps.clock);
    this.#patience = new Patience(run);
    this.#stall = new StallWatch(run.policy.limits, run.deps.clock);
    run.defer(() => this.#followed?.close());
  }

  get inputRequests(): InputRequests | undefined {
    return this.#requests;
  }

  /**
   * Subscribes to the session and resolves once its stream is live, or could not be had in some seconds. Again for
   * another session: starts over.
   */
  async attach(ids: PromptIds): Promise<void> {
    const run = this.#run;
    this.#followed?.close();
    this.#stall = new StallWatch(run.policy.limits, run.deps.clock);
    this.#lastEventAt = run.deps.clock.monotonicMs();
    const told = this.#attached || run.turn.run.phase !== 'queued';
    const reply = this.prepare(ids);
    const children = reply.childSessions().keys();
    this.#followed = run.upstream(ids.server).follow(
      ids,
      { told, children, reply },
      {
        connected: () => this.#connected(),
        heard: (heard) => this.#event(heard),
        gap: (error) => this.#gap(error),
      },
    );
    await this.#streamReady(this.#followed);
    // The stream is live before this prompt is posted: there is nothing yet that it could have missed.
    if (run.turn.run.phase !== 'queued' || !this.#live) return;
    this.#pollDue = false;
    this.#rebuild = false;
    this.#heard();
  }

  /** The reply and the prompts of these ids, as an owner before us left them; enough to end a turn that is not followed. */
  prepare(ids: PromptIds): Reply {
    const run = this.#run;
    const again = this.#attached;
    this.#attached = true;
    const reply = run.live.restart(ids);
    const adopted = !again && run.turn.run.phase !== 'queued';
    this.#requests?.end();
    this.#requests = new InputRequests(run, ids, again ? [] : run.turn.requests, adopted, (error) => {
      this.#answerLost ??= { error };
      this.#wakeup.wake();
    });
    observeReply(run, reply, this.#requests);
    // In time for all that a sub-agent says: upstream names it before its first message, also one that is resumed.
    reply.observe({ childAdded: (sessionId) => this.#followed?.add(sessionId) });
    if (again) run.live.followers.reset([]);
    else if (adopted) {
      // Also when followers were told nothing: what was asked while no worker had the turn is told by no event.
      reply.replaceParts(run.live.published);
      this.#rebuild = true;
    }
    return reply;
  }

  /** Something between us and the server may hold the stream back and nothing else: that costs liveness, not the turn. */
  async #streamReady(followed: FollowedPrompt): Promise<void> {
    const { signal, live, deps } = this.#run;
    try {
      await within(streamWaitMs, (limit) => followed.ready(limit), signal, deps.clock);
    } catch (error) {
      if (signal.aborted) throw error;
      this.#missed();
      live.reply?.streamBroken();
    }
  }

  /** Follows until upstream is final, lost or gone. Throws the run's abort reason, IdleStreamError, and errors of polls that cannot get better, or do not in time. */
  async follow(ids: PromptIds): Promise<WatchEnd> {
    const { clock } = this.#run.deps;
    const followed = this.#followed;
    if (!followed) throw new IllegalStateError('follow', 'nothing is attached');
    const settling = new Settling(this.#run.policy.limits.lostAfterMs, clock);
    this.#stall.begin(this.#waitedMs);
    for (;;) {
      if (this.#answerLost) throw this.#answerLost.error;
      const reading = this.#due() ? await this.#poll(followed) : undefined;
      this.#stall.setSuspended(this.#run.live.reply?.requests.blocked ?? false);
      if (reading === 'gone') return { kind: 'gone' };
      if (reading === 'away') this.#stall.renew();
      if (reading !== undefined && reading !== 'away') {
        const { exchange, verdict, streamError } = reading;
        this.#foreign.seen(exchange);
        if (isFinal(verdict)) return { ...verdict, exchange };
        // The owner before us has stopped it for that.
        if (verdict.kind === 'aborted' && isLostPrompt(this.#run.turn.run, exchange))
          return { kind: 'lost', exchange };
        if (settling.pauseMs === undefined && verdict.kind !== 'working' && exchange.lastAssistant)
          this.#run.deps.tracer.event('opencode.response.waiting_for_final_text');
        if (settling.stays(verdict, reading.settleMs, this.#run.live.movedAt)) {
          const end = endOf(verdict, exchange, streamError);
          // While the stream was down nobody could hear of it.
          const lost = end.kind === 'aborted' && (await wasLost(this.#run, ids, exchange));
          return lost ? { kind: 'lost', exchange } : end;
        }
        this.#pollDue ||= settling.pauseMs !== undefined;
        // Only ever after a poll, which may have seen what a mute stream did not tell.
        if (this.#stall.passed) {
          if (!this.#stall.started) return { kind: 'stale' };
          throw new IdleStreamError(ids.sessionId, this.#stall.limitMs);
        }
      }
      await this.#wait(settling.pauseMs);
    }
  }

  /** How long an owner before us has waited for what we follow. */
  get #waitedMs(): number {
    const { turn, submission, own } = this.#run;
    const { promptedAt } = turn.run;
    return submission.posted || promptedAt === undefined ? 0 : own.now() - promptedAt;
  }

  /** True when there is a reason to ask upstream. A silent stream may be mute: then what it should have told is read, too. */
  #due(): boolean {
    const unheard = !this.#live || this.#silentForMs >= silentPollMs || this.#stall.passed;
    const due = this.#pollDue || unheard;
    if (unheard) this.#missed();
    this.#pollDue = false;
    return due;
  }

  get #silentForMs(): number {
    return this.#run.deps.clock.monotonicMs() - this.#lastEventAt;
  }

  async #wait(settlingMs: number | undefined): Promise<void> {
    const poll =
      settlingMs ?? (this.#live && !this.#pollDue ? silentPollMs - this.#silentForMs : streamDownPollMs);
    await this.#wakeup.wait(Math.max(1, Math.min(poll, this.#stall.remainingMs)), this.#run.signal);
  }

  async #poll(followed: FollowedPrompt): Promise<UpstreamReading | 'gone' | 'away'> {
    const rebuild = this.#rebuild;
    // A gap that comes while upstream is read asks for one more.
    this.#rebuild = false;
    try {
      const { postedOver } = this.#run.submission;
      const options = { restore: rebuild, waiting: this.#requests?.waiting, postedOver };
      const reading = await followed.read(options, this.#run.signal);
      if (rebuild && this.#live && !this.#rebuild) this.#heard();
      this.#patience.renew();
      for (const child of reading.children) followed.add(child);
      for (const requestId of reading.closedRequests) this.#requests?.gone(requestId);
      this.#lastEventAt = this.#run.deps.clock.monotonicMs();
      if (this.#stall.read(reading.exchange, reading.busy)) this.#started();
      return reading;
    } catch (error) {
      this.#rebuild ||= rebuild;
      if (error instanceof SessionNotFoundError) return 'gone';
      if (!this.#patience.bears(error)) throw error;
      this.#pollDue = true;
      return 'away';
    }
  }

  /** What the stream should have told is to be read. */
  #missed(): void {
    this.#rebuild = true;
    const unheard = this.#requests?.approvals.unheard;
    if (unheard) unheard.deaf = true;
  }

  #heard(): void {
    const unheard = this.#requests?.approvals.unheard;
    if (unheard) unheard.deaf = false;
  }

  #connected(): void {
    this.#live = true;
    this.#pollDue = true;
    // A poll that is under way may have read what it reads before the stream was there.
    this.#missed();
    this.#wakeup.wake();
  }

  #gap(error: unknown): void {
    if (!this.#live) return;
    this.#live = false;
    this.#missed();
    this.#run.live.reply?.streamBroken();
    this.#run.event('opencode.stream.interrupted', {
      'error.type': isTurnsError(error) ? error.code : undefined,
    });
    this.#wakeup.wake();
  }

  #event({ event, own, moves, mayEnd }: Heard): void {
    const { deps, signal } = this.#run;
    const { reply } = this.#run.live;
    if (!reply || signal.aborted) return;
    this.#lastEventAt = deps.clock.monotonicMs();
    if (own) {
      reply.apply(event);
      if (moves) {
        this.#run.live.noteMove(this.#lastEventAt);
        if (this.#stall.moved()) this.#started();
      }
    }
    if (!mayEnd) return;
    this.#pollDue = true;
    this.#wakeup.wake();
  }

  #started(): void {
    this.#run.event('opencode.response.started');
    // Whoever waits does so for the limit of before.
    this.#wakeup.wake();
  }
}

const isFinal = (verdict: Verdict): verdict is Exclude<Verdict, OpenVerdict> =>
  ['failed', 'completed', 'overtaken', 'lost'].includes(verdict.kind);

/**
 * What stays unsettled has failed before it began, ended without a word, or is lost. A run that ends with an error of
 * the session may leave its message as it is (a directory that is missing): that one is not lost, it would fail again.
 */
function endOf(
  verdict: OpenVerdict | FinalVerdict,
  exchange: Exchange,
  error: TurnFailure | undefined,
): WatchEnd {
  if (verdict.kind === 'doubtful') return endOf(verdict.meaning, exchange, error);
  if (verdict.kind === 'failed') return { ...verdict, exchange };
  const failure = verdict.kind === 'unsettled' ? (verdict.failure ?? error) : undefined;
  if (failure) return { kind: 'failed', failure, exchange };
  const lost = verdict.kind === 'unsettled' || verdict.kind === 'working';
  return { kind: lost ? 'lost' : verdict.kind, exchange };
}
