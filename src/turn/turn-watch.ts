import { IdleStreamError, isAmbiguous, SessionNotFoundError, type TurnsError } from '../errors.ts';
import { decodeEvent, type OpenCodeEvent } from '../reply/events.ts';
import type { Exchange } from '../reply/exchange.ts';
import { InactivityLimit } from '../timing/deadline.ts';
import { Wakeup } from '../timing/wakeup.ts';
import { Interactive } from './interactive.ts';
import { type LookResult, lookUpstream } from './look.ts';
import type { FeedSubscription } from './ports.ts';
import { observeReply } from './reply-watching.ts';
import type { TurnFailure } from './stored-turn.ts';
import type { PromptIds } from './turn-phase.ts';
import type { TurnRun } from './turn-run.ts';
import { judge } from './verdict.ts';

/** How following ended. `lost`: the server does not know the run any more. `gone`: the session neither. */
export type WatchEnd =
  | { readonly kind: 'completed' | 'empty' | 'aborted' | 'lost'; readonly exchange: Exchange }
  | { readonly kind: 'failed'; readonly exchange: Exchange; readonly failure: TurnFailure }
  | { readonly kind: 'gone' | 'stale' };

/** Waits between looks while upstream is idle and not final: 25, 50, 100, 200, 400, 500 … ms. */
const settleMs = (looks: number) => Math.min(25 * 2 ** Math.min(looks, 10), 500);
const silentPollMs = 15_000;
const streamDownPollMs = 2_000;
/** After the 204 of a prompt the session is not busy at once; the first turn of a directory loads plugins first. */
const startGraceMs = 10_000;

/**
 * Follows one prompt to its end. Stream and poll are one truth: events fill the reply and say when to look,
 * only a look ends the turn. Looks on connect, after a gap, on idle, on errors, and now and then while silent,
 * so no single lost event can hang or cut a turn.
 */
export class TurnWatch {
  readonly #run: TurnRun;
  readonly #wakeup: Wakeup;
  #attached: PromptIds | undefined;
  #subscription: FeedSubscription | undefined;
  #interactive: Interactive | undefined;
  #live = false;
  #lookDue = true;
  #rebuild = false;
  #lastEventAt = 0;
  #streamError: TurnFailure | undefined;
  #started = false;
  #limit: InactivityLimit;

  constructor(run: TurnRun) {
    this.#run = run;
    this.#wakeup = new Wakeup(run.deps.clock);
    this.#limit = new InactivityLimit(run.policy.limits.firstEventTimeoutMs, run.deps.clock);
    run.defer(() => this.#subscription?.close());
  }

  get interactive(): Interactive | undefined {
    return this.#interactive;
  }

  /** Subscribes to the session and resolves once its stream is live. Again for another session: starts over. */
  async attach(ids: PromptIds): Promise<void> {
    const run = this.#run;
    const again = this.#attached !== undefined;
    this.#attached = ids;
    this.#subscription?.close();
    this.#started = false;
    this.#streamError = undefined;
    const reply = run.newReply(ids);
    this.#interactive = new Interactive(run, ids, again ? [] : run.turn.prompts);
    observeReply(run, reply, this.#interactive);
    // In time for all that a sub-agent says: upstream names it before its first message, also one that is resumed.
    reply.observe({ childAdded: (sessionId) => this.#subscription?.add(sessionId) });
    if (again) run.followers.reset([]);
    else if (run.turn.run.phase !== 'queued') {
      // Also when followers were told nothing: what was asked while no worker had the turn is told by no event.
      reply.replaceParts(run.told);
      this.#rebuild = true;
    }
    const children = reply.childSessions().keys();
    this.#subscription = run
      .upstream(ids.server)
      .feed.subscribe(ids.directory, [ids.sessionId, ...children], {
        connected: () => this.#connected(),
        event: (wire) => this.#event(decodeEvent(wire)),
        gap: () => this.#gap(),
      });
    await this.#subscription.ready(run.signal);
    // The stream is live before this prompt is posted: there is nothing yet that it could have missed.
    if (run.turn.run.phase === 'queued') this.#lookDue = false;
  }

  /** Follows until upstream is final, lost or gone. Throws the run's abort reason, IdleStreamError, and errors of looks that cannot get better. */
  async follow(ids: PromptIds): Promise<WatchEnd> {
    const { clock } = this.#run.deps;
    let unsettledSince: number | undefined;
    let looks = 0;
    this.#limit = new InactivityLimit(this.#run.policy.limits.firstEventTimeoutMs, clock);
    for (;;) {
      const look = this.#due() ? await this.#look(ids) : undefined;
      if (look === 'gone') return { kind: 'gone' };
      if (look !== undefined && look !== 'away') {
        const verdict = judge({ ...look, streamError: this.#streamError });
        if (verdict.kind === 'failed') return { ...verdict, exchange: look.exchange };
        if (verdict.kind === 'completed' || verdict.kind === 'aborted')
          return { ...verdict, exchange: look.exchange };
        if (verdict.kind === 'working') {
          unsettledSince = undefined;
          looks = 0;
        } else {
          if (unsettledSince === undefined && look.exchange.lastAssistant)
            this.#run.deps.tracer.event('opencode.response.waiting_for_final_text');
          unsettledSince ??= clock.monotonicMs();
          looks += 1;
          this.#lookDue = true;
          const graceMs = this.#graceMs(look.exchange);
          if (looks >= 2 && clock.monotonicMs() - unsettledSince >= graceMs) {
            return { kind: verdict.kind === 'empty' ? 'empty' : 'lost', exchange: look.exchange };
          }
        }
      }
      if (this.#limit.passed) {
        const error = new IdleStreamError(ids.sessionId, this.#limit.limitMs);
        if (!this.#started) return { kind: 'stale' };
        throw error;
      }
      await this.#wait(unsettledSince === undefined ? undefined : settleMs(looks));
    }
  }

  #graceMs(exchange: Exchange): number {
    const { lostAfterMs } = this.#run.policy.limits;
    return exchange.lastAssistant === undefined && !this.#started
      ? Math.max(lostAfterMs, startGraceMs)
      : lostAfterMs;
  }

  /** True when there is a reason to ask upstream. */
  #due(): boolean {
    const { clock } = this.#run.deps;
    const silent = clock.monotonicMs() - this.#lastEventAt >= silentPollMs;
    const due = this.#lookDue || !this.#live || silent;
    this.#lookDue = false;
    return due;
  }

  async #wait(settlingMs: number | undefined): Promise<void> {
    this.#limit.setSuspended((this.#run.reply?.prompts.blocked ?? false) === true);
    const poll = settlingMs ?? (this.#live ? silentPollMs : streamDownPollMs);
    await this.#wakeup.wait(Math.max(1, Math.min(poll, this.#limit.remainingMs)), this.#run.signal);
  }

  async #look(ids: PromptIds): Promise<LookResult | 'gone' | 'away'> {
    try {
      const rebuild = this.#rebuild;
      const look = await lookUpstream(this.#run, ids, rebuild, this.#interactive?.waiting);
      if (rebuild) this.#rebuild = false;
      for (const child of look.children) this.#subscription?.add(child);
      for (const requestId of look.closedPrompts) this.#interactive?.settled(requestId, 'closed');
      this.#lastEventAt = this.#run.deps.clock.monotonicMs();
      return look;
    } catch (error) {
      if (error instanceof SessionNotFoundError) return 'gone';
      if (!isAmbiguous(error)) throw error;
      this.#run.upstreamError = error as TurnsError;
      this.#lookDue = true;
      return 'away';
    }
  }

  #connected(): void {
    this.#live = true;
    this.#lookDue = true;
    this.#wakeup.wake();
  }

  #gap(): void {
    if (!this.#live) return;
    this.#live = false;
    this.#rebuild = true;
    this.#run.reply?.streamBroken();
    this.#run.deps.tracer.event('opencode.stream.interrupted');
    this.#wakeup.wake();
  }

  #event(event: OpenCodeEvent): void {
    const { reply, deps, signal } = this.#run;
    if (!reply || signal.aborted) return;
    reply.apply(event);
    this.#lastEventAt = deps.clock.monotonicMs();
    if (isProgress(event, this.#attached?.promptMessageId)) this.#progressed();
    if (event.type === 'session.error') this.#streamError = errorOf(event) ?? this.#streamError;
    if (event.type !== 'session.idle' && event.type !== 'session.error') return;
    this.#lookDue = true;
    this.#wakeup.wake();
  }

  #progressed(): void {
    if (this.#started) this.#limit.touch();
    else {
      this.#started = true;
      this.#limit = new InactivityLimit(this.#run.policy.limits.idleTimeoutMs, this.#run.deps.clock);
      this.#run.deps.tracer.event('opencode.response.started');
      // Whoever waits does so for the limit of before.
      this.#wakeup.wake();
    }
  }
}

/** A sign that the model's run goes on. The echo of our own message and housekeeping after idle are none. */
function isProgress(event: OpenCodeEvent, promptMessageId: string | undefined): boolean {
  switch (event.type) {
    case 'message.updated':
      return event.properties.info.role === 'assistant';
    case 'message.part.updated':
      return event.properties.part.messageID !== promptMessageId;
    case 'message.part.delta':
    case 'todo.updated':
    case 'question.asked':
    case 'permission.asked':
      return true;
    case 'session.status':
      return event.properties.status.type !== 'idle';
    default:
      return false;
  }
}

function errorOf(event: Extract<OpenCodeEvent, { type: 'session.error' }>): TurnFailure | undefined {
  const { error } = event.properties;
  if (!error || error.name === 'MessageAbortedError') return undefined;
  const { message, statusCode } = error.data ?? {};
  return {
    reason: 'upstream_error',
    name: error.name,
    message: message ?? error.name,
    ...(statusCode === undefined ? {} : { statusCode }),
  };
}
