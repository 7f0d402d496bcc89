import { InvalidInputError, NotFoundError, OwnershipLostError, TurnBusyError } from '../errors.ts';
import type {
  CancelResult,
  ClaimResult,
  CreatedTurn,
  Fence,
  NewTurn,
  TurnStore,
} from '../ports/turn-store.ts';
import type { Clock } from '../timing/clock.ts';
import type { TurnConversation } from '../turn/conversation.ts';
import { promptIds, stopRefOf } from '../turn/phase.ts';
import type {
  InputAnswer,
  PendingTurn,
  RunState,
  StoredTurn,
  TerminalPatch,
  TurnControl,
  TurnFailure,
  TurnPatch,
  WaitingTurn,
} from '../turn/stored-turn.ts';
import type { MemoryConversations } from './memory-conversations.ts';
import { checkId, memoryIds, stored } from './memory-ids.ts';
import {
  isRunning,
  type MemoryTurn,
  type MemoryTurns,
  patched,
  pendingOf,
  waitingOf,
} from './memory-turns.ts';

export interface MemoryTurnStoreOptions {
  readonly turns: MemoryTurns;
  readonly conversations: MemoryConversations;
  readonly clock: Clock;
}

/** TurnStore in memory. Each method is done before anybody else has a turn: nothing is awaited within. */
export class MemoryTurnStore implements TurnStore {
  readonly newMessageId: () => string;
  readonly #turns: MemoryTurns;
  readonly #conversations: MemoryConversations;
  readonly #clock: Clock;

  constructor({ turns, conversations, clock }: MemoryTurnStoreOptions) {
    this.#turns = turns;
    this.#conversations = conversations;
    this.#clock = clock;
    this.newMessageId = memoryIds(clock);
  }

  async create(given: NewTurn): Promise<CreatedTurn> {
    const conversationId = this.#conversations.idOf(given.conversationId);
    const { idempotencyKey, onBusy } = given;
    const known = this.#turns
      .of(conversationId)
      .find((turn) => idempotencyKey !== undefined && turn.idempotencyKey === idempotencyKey);
    if (known) return { turn: stored(known.turn), created: false, first: false };
    if (!this.#conversations.has(conversationId)) throw new NotFoundError('conversation', conversationId);
    const ahead = this.#turns.head(conversationId);
    if (ahead && onBusy === 'reject') throw new TurnBusyError(conversationId, ahead.turn.id);
    const { uploads } = given;
    const turn = this.#turnOf(given, conversationId);
    const messageId = uploads?.messageId ?? this.newMessageId();
    this.#turns.add({ turn, messageId, idempotencyKey, announceFrom: undefined });
    return { turn: stored(turn), created: true, first: ahead === undefined };
  }

  async get(turnId: string): Promise<StoredTurn | null> {
    const found = this.#find(turnId);
    return found ? stored(found.turn) : null;
  }

  async conversation(conversationId: string): Promise<TurnConversation | null> {
    return this.#conversations.find(conversationId);
  }

  async policySoughtMs(turnId: string): Promise<number> {
    const found = this.#find(turnId);
    if (!found) return 0;
    const now = this.#clock.now();
    found.policySoughtSince ??= now;
    return now - found.policySoughtSince;
  }

  async claim(
    { id, conversationId }: Pick<StoredTurn, 'id' | 'conversationId'>,
    owner: string,
  ): Promise<ClaimResult> {
    const found = this.#find(id);
    const conversation = this.#conversations.find(conversationId);
    if (!found) return { kind: 'missing' };
    if (found.turn.status !== 'pending') return { kind: 'finished' };
    if (found.turn.conversationId !== conversationId) return { kind: 'missing' };
    if (!conversation) return { kind: 'conversation-deleted' };
    const head = this.#turns.head(conversationId);
    if (head && head !== found) return { kind: 'behind', turnId: head.turn.id };
    if (conversation.held && !isRunning(found)) return { kind: 'held' };
    const { run } = found.turn;
    const now = this.#clock.now();
    const startedAt = run.startedAt ?? now;
    found.turn = { ...found.turn, run: { ...run, epoch: run.epoch + 1, owner, claimedAt: now, startedAt } };
    found.policySoughtSince = undefined;
    return { kind: 'claimed', turn: stored(found.turn), conversation };
  }

  async control(turnId: string): Promise<TurnControl | null> {
    const found = this.#find(turnId);
    return found
      ? stored({ run: found.turn.run, requests: found.turn.requests, status: found.turn.status })
      : null;
  }

  async write(fence: Fence, patch: TurnPatch): Promise<void> {
    const found = this.#fenced(fence);
    if (found?.turn.status !== 'pending') throw new OwnershipLostError(fence.turnId, fence.epoch);
    found.turn = patched(found.turn, patch);
  }

  async finish(fence: Fence, terminal: TerminalPatch): Promise<boolean> {
    const found = this.#fenced(fence);
    if (!found) throw new OwnershipLostError(fence.turnId, fence.epoch);
    const { status, finishedAt } = found.turn;
    if (status !== 'pending') return status === terminal.status && finishedAt === terminal.finishedAt;
    found.turn = patched(found.turn, terminal);
    return true;
  }

  async amend(fence: Fence, patch: TurnPatch): Promise<void> {
    const found = this.#fenced(fence);
    if (!found || found.turn.status === 'pending') throw new OwnershipLostError(fence.turnId, fence.epoch);
    found.turn = patched(found.turn, patch);
  }

  async waiting(turnId: string): Promise<WaitingTurn | null> {
    const found = this.#find(turnId);
    return found ? waitingOf(found.turn) : null;
  }

  async head(conversationId: string): Promise<WaitingTurn | null> {
    const head = this.#turns.head(this.#conversations.idOf(conversationId));
    return head ? waitingOf(head.turn) : null;
  }

  async cancel(turnId: string, interruptedBy?: string): Promise<CancelResult> {
    const found = this.#find(turnId);
    if (!found) throw new NotFoundError('turn', turnId);
    const { turn } = found;
    if (turn.status !== 'pending') return 'finished';
    const { cancelRequestedAt = this.#clock.now() } = turn.run;
    if (turn.run.epoch === 0) {
      this.#end(found, { status: 'cancelled' }, { ...turn.run, cancelRequestedAt });
      return 'cancelled';
    }
    const isFirst = turn.run.cancelRequestedAt === undefined;
    const by = isFirst && interruptedBy !== undefined ? { interruptedBy } : {};
    found.turn = { ...turn, run: { ...turn.run, cancelRequestedAt, ...by } };
    return 'requested';
  }

  async drop(turnId: string): Promise<'cancelled' | 'started' | 'finished'> {
    const found = this.#find(turnId);
    if (found && isRunning(found)) return 'started';
    return (await this.cancel(turnId)) === 'cancelled' ? 'cancelled' : 'finished';
  }

  async takeUnannounced(turnId: string, againMs: number): Promise<StoredTurn | null> {
    const found = this.#find(turnId);
    if (!found || !this.#isUnannounced(found)) return null;
    found.announceFrom = this.#clock.now() + againMs;
    return stored(found.turn);
  }

  async announced(turnId: string): Promise<void> {
    const found = this.#find(turnId);
    if (found) found.announceFrom = undefined;
  }

  async answer(turnId: string, requestId: string, answer: InputAnswer): Promise<boolean> {
    const found = this.#find(turnId);
    if (typeof requestId !== 'string') throw new InvalidInputError('requestId', 'must be a string');
    if (!found) throw new NotFoundError('turn', turnId);
    const { turn } = found;
    const request = turn.requests.find((known) => known.requestId === requestId);
    if (!request) throw new NotFoundError('request', requestId);
    if (turn.status !== 'pending' || request.state !== 'open' || request.answer) return false;
    const requests = turn.requests.map((one) => (one === request ? { ...one, answer: stored(answer) } : one));
    found.turn = { ...turn, requests };
    return true;
  }

  async stored(messageIds: readonly string[]): Promise<ReadonlySet<string>> {
    const ids = new Set(messageIds.map((id) => checkId(id, 'messageId')));
    const known = this.#turns.all.flatMap(({ turn, messageId }) => [turn.id, messageId]);
    return new Set(known.filter((id) => ids.has(id)));
  }

  async pending(...page: Parameters<TurnStore['pending']>): Promise<readonly PendingTurn[]> {
    return this.#page(({ turn }) => turn.status === 'pending', ...page);
  }

  async unannounced(...page: Parameters<TurnStore['pending']>): Promise<readonly PendingTurn[]> {
    return this.#page((found) => this.#isUnannounced(found), ...page);
  }

  async abandon(turnId: string, failure: TurnFailure): Promise<StoredTurn | null> {
    const found = this.#find(turnId);
    if (found?.turn.status !== 'pending' || this.#conversations.has(found.turn.conversationId)) return null;
    const { run } = found.turn;
    const ids = promptIds({ ...run, phase: 'prompted' });
    const open = ids
      ? { openStops: [...(run.openStops ?? []), stopRefOf(ids)], stopTriedAt: this.#clock.now() }
      : {};
    this.#end(found, { status: 'error', error: stored(failure) }, { ...run, ...open, epoch: run.epoch + 1 });
    return stored(found.turn);
  }

  #turnOf({ text, policy, carrier, uploads, retryOf }: NewTurn, conversationId: string): StoredTurn {
    return stored({
      id: this.newMessageId(),
      conversationId,
      sequence: 2 * this.#turns.of(conversationId).length + 2,
      status: 'pending',
      policy,
      userText: text,
      ...(retryOf === undefined ? {} : { retryOf }),
      uploads: uploads?.files ?? [],
      text: '',
      reasoning: '',
      parts: [],
      run: { phase: 'queued', epoch: 0, reruns: 0, resends: 0 },
      requests: [],
      artifacts: [],
      ...(carrier ? { carrier } : {}),
      createdAt: this.#clock.now(),
    });
  }

  /** An end that no run writes: somebody is to tell it. */
  #end(found: MemoryTurn, end: Pick<StoredTurn, 'status' | 'error'>, run: RunState): void {
    found.turn = { ...found.turn, ...end, finishedAt: this.#clock.now(), run: { ...run, phase: 'finished' } };
    found.announceFrom = 1;
  }

  #isUnannounced({ announceFrom }: MemoryTurn): boolean {
    return announceFrom !== undefined && announceFrom <= this.#clock.now();
  }

  #page(
    isOne: (found: MemoryTurn) => boolean,
    before: number,
    limit: number,
    after?: Pick<PendingTurn, 'id' | 'createdAt'>,
  ): readonly PendingTurn[] {
    const order = (a: typeof after & {}, b: typeof after & {}) =>
      a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);
    return this.#turns.all
      .filter(isOne)
      .map(({ turn }) => pendingOf(turn))
      .sort(order)
      .filter(
        (turn) => turn.createdAt < before && (!after || (turn.id !== after.id && order(turn, after) > 0)),
      )
      .slice(0, Math.max(1, limit));
  }

  #find(turnId: string): MemoryTurn | undefined {
    return this.#turns.find(checkId(turnId, 'turnId'));
  }

  /** Undefined after a newer claim. */
  #fenced({ turnId, epoch }: Fence): MemoryTurn | undefined {
    const found = this.#find(turnId);
    return found?.turn.run.epoch === epoch ? found : undefined;
  }
}
