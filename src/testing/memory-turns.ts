import { byPlace } from '../turn/position.ts';
import type { PlacedTurn } from '../turn/queue-order.ts';
import type {
  InputRequest,
  PendingTurn,
  RunState,
  StoredTurn,
  TerminalPatch,
  TurnPatch,
  WaitingTurn,
} from '../turn/stored-turn.ts';
import { stored } from './memory-ids.ts';

/** A turn with what a store keeps of it and does not tell. */
export interface MemoryTurn {
  turn: StoredTurn;
  /** Of the user's message. */
  readonly messageId: string;
  readonly idempotencyKey: string | undefined;
  /** Since when an end that no run has written may be told; undefined once it was. Unix ms. */
  announceFrom: number | undefined;
  /** When a worker met it first that did not know its policy; undefined once it was claimed. Unix ms. */
  policySoughtSince?: number | undefined;
  /** Where it was moved to while it waited. */
  position?: string;
}

export const isRunning = ({ turn }: MemoryTurn): boolean => turn.status === 'pending' && turn.run.epoch > 0;

export const placedOf = ({ turn, position }: MemoryTurn): PlacedTurn => ({
  id: turn.id,
  sequence: turn.sequence,
  ...(position === undefined ? {} : { position }),
  isRunning: turn.run.epoch > 0,
});

/** What the stores of turns and of open stops share, in the order of creation. */
export class MemoryTurns {
  readonly #all = new Map<string, MemoryTurn>();

  add(turn: MemoryTurn): void {
    this.#all.set(turn.turn.id, turn);
  }

  find(turnId: string): MemoryTurn | undefined {
    return this.#all.get(turnId);
  }

  get all(): readonly MemoryTurn[] {
    return [...this.#all.values()];
  }

  of(conversationId: string): readonly MemoryTurn[] {
    return this.all.filter(({ turn }) => turn.conversationId === conversationId);
  }

  /** What is pending, in the order in which it will run. */
  inOrder(conversationId: string): readonly MemoryTurn[] {
    return this.of(conversationId)
      .filter(({ turn }) => turn.status === 'pending')
      .sort((a, b) => byPlace(placedOf(a), placedOf(b)));
  }

  head(conversationId: string): MemoryTurn | undefined {
    const pending = this.inOrder(conversationId);
    return pending.find(isRunning) ?? pending[0];
  }
}

/** The turn after a write of its run: fields of `run` one by one (null takes one away), a known request in place and never its answer. */
export function patched(turn: StoredTurn, patch: TurnPatch | TerminalPatch): StoredTurn {
  const { run = {}, request, ...fields } = stored(patch);
  const known = turn.requests.some(({ requestId }) => requestId === request?.requestId);
  const requests = known
    ? turn.requests.map((one) => inState(one, request))
    : [...turn.requests, ...(request ? [request] : [])];
  return { ...turn, requests, ...fields, run: { ...merged(turn.run, run), epoch: turn.run.epoch } };
}

const merged = (run: RunState, patch: NonNullable<TurnPatch['run']>) =>
  Object.fromEntries(
    Object.entries({ ...run, ...patch }).filter(([, value]) => value !== null),
  ) as unknown as RunState;

const inState = (one: InputRequest, changed: InputRequest | undefined): InputRequest =>
  one.requestId === changed?.requestId ? { ...one, state: changed.state } : one;

export const waitingOf = ({ id, conversationId, policy, carrier }: StoredTurn): WaitingTurn => ({
  id,
  conversationId,
  policy,
  ...(carrier ? { carrier } : {}),
});

export const pendingOf = (turn: StoredTurn): PendingTurn => ({
  ...waitingOf(turn),
  createdAt: turn.createdAt,
  hasControl:
    turn.run.cancelRequestedAt !== undefined ||
    turn.requests.some(({ state, answer }) => state === 'open' && answer !== undefined),
});
