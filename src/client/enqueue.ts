import {
  NotFoundError,
  OwnershipLostError,
  ServiceUnavailableError,
  TurnStartedError,
  TurnsError,
} from '../errors.ts';
import type { TraceCarrier } from '../instrumentation/tracer.ts';
import type { CreatedTurn, TurnStore } from '../ports/turn-store.ts';
import { AskedAnew } from '../timing/asked-anew.ts';
import type { StoredTurn, WaitingTurn } from '../turn/stored-turn.ts';
import type { ClientDeps } from './deps.ts';
import { type CheckedInput, checkEnqueueInput, type EnqueueInput } from './enqueue-input.ts';
import { sendNow } from './steer-queue.ts';
import { removeFiles, storeFiles } from './store-files.ts';

/**
 * Stores the user's message and the pending reply, and queues the turn behind the conversation's earlier ones. See
 * `Turns.enqueue` for what it guarantees and throws.
 */
export const enqueue = (deps: ClientDeps, input: EnqueueInput<never>): Promise<StoredTurn> =>
  enqueueChecked(deps, checkEnqueueInput(input, deps.idType));

/** The same of what was checked already; `retryOf`: the turn that it tries again. */
export async function enqueueChecked(
  deps: ClientDeps,
  checked: CheckedInput,
  retryOf?: string,
): Promise<StoredTurn> {
  const { tracer, meter, jobs, reporter } = deps;
  const attributes = { 'turn.policy': checked.policy };
  return tracer.span('turn.enqueue', { kind: 'producer', attributes }, async (span) => {
    // Asked before anything is written: a turn without a queue would look accepted and not move.
    jobs.assertReachable();
    const { turn, created, first } = await create(deps, checked, { carrier: tracer.carrier(), retryOf });
    span.set({ 'turn.id': turn.id, 'turn.created': created });
    if (created) meter.add('opencode_turns.enqueued', 1);
    if (turn.status !== 'pending') return turn;
    try {
      await Promise.all([created ? publishQueued(deps, turn.id) : undefined, addJob(deps, turn, first)]);
      if (checked.onBusy === 'interrupt' && !first) await interrupt(deps, turn);
    } catch (error) {
      reporter.report(error, { action: 'turn.enqueue', severity: 'warning', turnId: turn.id });
    }
    return turn;
  });
}

async function create(
  deps: ClientDeps,
  { files, onBusy, ...turn }: CheckedInput,
  { carrier, retryOf }: { readonly carrier: TraceCarrier; readonly retryOf: string | undefined },
): Promise<CreatedTurn> {
  const { store } = deps;
  const newTurn = {
    ...turn,
    ...(onBusy === 'interrupt' ? { onBusy: 'enqueue' as const, sendNow: true } : { onBusy }),
    ...(carrier.traceparent ? { carrier } : {}),
    ...(retryOf === undefined ? {} : { retryOf }),
  };
  if (files.length === 0) return store.create(newTurn);
  if (!(await store.conversation(turn.conversationId)))
    throw new NotFoundError('conversation', turn.conversationId);
  const messageId = store.newMessageId();
  const uploads = await storeFiles(deps.files, messageId, files);
  const discard = () => removeFiles(deps.files, uploads).catch(() => undefined);
  try {
    const result = await store.create({ ...newTurn, uploads: { messageId, files: uploads } });
    // An earlier call with this key has brought the same files.
    if (!result.created) await discard();
    return result;
  } catch (error) {
    // The answer to our write may have been lost: then the message is there, or will be, with these files. Those of
    // a message that never comes are the sweeper's.
    if (storedNothing(error)) await discard();
    throw error;
  }
}

/** Also for the turn of an earlier call with its key, whose caller may have died here. One that has started is where it wanted to be. */
async function interrupt(deps: ClientDeps, turn: StoredTurn): Promise<void> {
  try {
    await sendNow(deps, turn.conversationId, turn.id);
  } catch (error) {
    if (!(error instanceof TurnStartedError)) throw error;
  }
}

async function publishQueued({ stream }: ClientDeps, turnId: string): Promise<void> {
  try {
    await stream.append({ turnId, epoch: 0 }, 'any', [{ type: 'progress', progress: 'queued' }]);
  } catch (error) {
    // A worker has begun the turn already: what it tells is newer.
    if (!(error instanceof OwnershipLostError)) throw error;
  }
}

/** Delayed unless it is surely the conversation's head; looked at afterwards, since the one in front may end meanwhile. */
async function addJob({ store, jobs }: ClientDeps, turn: StoredTurn, first: boolean): Promise<void> {
  await jobs.add(turn, !first);
  if (first) return;
  const asks = headAsks.get(store) ?? new AskedAnew<WaitingTurn | null>();
  headAsks.set(store, asks);
  // A burst of turns of one conversation costs a question now and then, and not one of each.
  const head = await asks.ask(turn.conversationId, () => store.head(turn.conversationId));
  if (head?.id === turn.id) await jobs.wake(turn);
}

const headAsks = new WeakMap<TurnStore, AskedAnew<WaitingTurn | null>>();

const storedNothing = (error: unknown) =>
  error instanceof TurnsError && !(error instanceof ServiceUnavailableError && error.effect === 'unknown');
