import { NotFoundError } from '../errors.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import { checkTurnId } from './check-input.ts';
import type { ClientDeps } from './deps.ts';

/** A turn of this conversation. One of another is none, whatever it is. Throws NotFoundError, InvalidInputError. */
export async function memberTurn(
  { store }: ClientDeps,
  conversationId: string,
  turnId: string,
): Promise<StoredTurn> {
  const turn = await store.get(checkTurnId(turnId));
  if (turn?.conversationId !== conversationId) throw new NotFoundError('turn', turnId);
  return turn;
}

/** The same, without reading all of it. */
export async function checkMember(
  { store }: ClientDeps,
  conversationId: string,
  turnId: string,
): Promise<void> {
  const turn = await store.waiting(checkTurnId(turnId));
  if (turn?.conversationId !== conversationId) throw new NotFoundError('turn', turnId);
}
