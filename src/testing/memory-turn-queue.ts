import { ConflictError, InvalidInputError, NotFoundError } from '../errors.ts';
import type {
  ConversationQueue,
  EditResult,
  MoveResult,
  QueuedTurn,
  SentNow,
  TurnQueue,
} from '../ports/turn-queue.ts';
import type { Clock } from '../timing/clock.ts';
import type { Place } from '../turn/queue-order.ts';
import { placeFor } from '../turn/queue-order.ts';
import type { MemoryConversations } from './memory-conversations.ts';
import { checkId } from './memory-ids.ts';
import { isRunning, type MemoryTurn, type MemoryTurns, placedOf } from './memory-turns.ts';

/** TurnQueue in memory. Each method is done before anybody else has a turn: nothing is awaited within. */
export class MemoryTurnQueue implements TurnQueue {
  readonly #turns: MemoryTurns;
  readonly #conversations: MemoryConversations;
  readonly #clock: Clock;

  constructor(turns: MemoryTurns, conversations: MemoryConversations, clock: Clock) {
    this.#turns = turns;
    this.#conversations = conversations;
    this.#clock = clock;
  }

  async queue(conversationId: string): Promise<ConversationQueue> {
    const hold = this.#conversations.hold(conversationId);
    const pending = this.#turns.inOrder(conversationId);
    const running = pending.find(isRunning);
    const waiting = pending.filter((each) => !isRunning(each));
    return {
      ...(running ? { running: { ...queuedOf(running), waitsForPerson: isAsking(running) } } : {}),
      waiting: waiting.slice(0, 200).map(queuedOf),
      more: Math.max(0, waiting.length - 200),
      ...(hold ? { hold } : {}),
    };
  }

  async edit(turnId: string, text: string, revision?: number): Promise<EditResult> {
    const found = this.#find(turnId);
    const state = stateOf(found);
    if (state !== 'waiting') return { kind: state };
    const known = found.turn.revision ?? 0;
    if (revision !== undefined && revision !== known) return { kind: 'revision', revision: known };
    found.turn = { ...found.turn, userText: text, revision: known + 1 };
    return { kind: 'edited', revision: known + 1 };
  }

  async move(turnId: string, place: Place): Promise<MoveResult> {
    const found = this.#find(turnId);
    const neighbour = typeof place === 'object' ? Object.values(place)[0] : undefined;
    for (const id of neighbour === undefined ? [turnId] : [turnId, neighbour]) {
      const state = stateOf(this.#find(id));
      if (state !== 'waiting') return { kind: state, turnId: id };
    }
    const { conversationId } = found.turn;
    if (neighbour !== undefined && this.#find(neighbour).turn.conversationId !== conversationId)
      throw new InvalidInputError('place', `turn ${neighbour} is of another conversation`);
    const position = placeFor(turnId, place, this.#turns.inOrder(conversationId).map(placedOf));
    if (position === undefined)
      throw new ConflictError('no place is left there; move the turn elsewhere', ['position']);
    found.position = position;
    return { kind: 'moved' };
  }

  async sendNow(turnId: string): Promise<SentNow> {
    const moved = await this.move(turnId, 'first');
    const running = this.#turns.inOrder(this.#find(turnId).turn.conversationId).find(isRunning);
    return moved.kind === 'moved' && running ? { ...moved, interrupts: running.turn.id } : moved;
  }

  async hold(conversationId: string, by: string | undefined) {
    const at = this.#clock.now();
    this.#conversations.setHold(conversationId, { at, ...(by === undefined ? {} : { by }) });
    return { running: this.#turns.inOrder(conversationId).find(isRunning)?.turn.id };
  }

  async release(conversationId: string): Promise<void> {
    this.#conversations.setHold(conversationId, undefined);
  }

  #find(turnId: string): MemoryTurn {
    const found = this.#turns.find(checkId(turnId, 'turnId'));
    if (!found) throw new NotFoundError('turn', turnId);
    return found;
  }
}

function stateOf(found: MemoryTurn): 'waiting' | 'started' | 'finished' {
  if (found.turn.status !== 'pending') return 'finished';
  return isRunning(found) ? 'started' : 'waiting';
}

const isAsking = ({ turn }: MemoryTurn) => turn.requests.some(({ state }) => state === 'open');

const queuedOf = ({ turn }: MemoryTurn): QueuedTurn => ({
  id: turn.id,
  policy: turn.policy,
  text: turn.userText,
  isCut: false,
  files: turn.uploads.map(({ filename, contentType, bytes }) => ({ filename, contentType, bytes })),
  revision: turn.revision ?? 0,
  createdAt: turn.createdAt,
});
