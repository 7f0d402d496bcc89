import { NotRetryableError } from '../errors.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import type { ClientDeps } from './deps.ts';
import { enqueueChecked } from './enqueue.ts';
import { memberTurn } from './member-turn.ts';
import { isDropped } from './steer-queue.ts';

/** Retries of one turn that were dropped before they ran. */
const maxDropped = 100;

/**
 * A new turn that asks the same again. Its key is made of the turn that it retries: of any number of callers one makes it, and the
 * others get that one. One that was dropped while it waited is out of the way.
 */
export async function retry(deps: ClientDeps, conversationId: string, turnId: string): Promise<StoredTurn> {
  const failed = await memberTurn(deps, conversationId, turnId);
  if (failed.status === 'pending' || failed.status === 'completed')
    throw new NotRetryableError(turnId, failed.status);
  // Made anew for each try: a stream of a file can be read once.
  const input = () => ({
    conversationId,
    text: failed.userText,
    policy: failed.policy,
    onBusy: 'enqueue' as const,
    files: failed.uploads.map(({ filename, contentType, fileId }) => ({
      filename,
      contentType,
      content: deps.files.read(fileId),
    })),
  });
  for (let dropped = 0; ; dropped += 1) {
    const idempotencyKey = `retry:${turnId}:${dropped}`;
    const turn = await enqueueChecked(deps, { ...input(), idempotencyKey }, turnId);
    if (!isDropped(turn) || dropped === maxDropped) return turn;
  }
}
