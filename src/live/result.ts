import { checkCallOptions } from '../checking/check-signal.ts';
import { CallAbortedError, NotFoundError } from '../errors.ts';
import type { TurnNotifier } from '../ports/notifier.ts';
import type { TurnStore } from '../ports/turn-store.ts';
import type { TurnReader } from '../ports/turn-stream.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { Wakeup } from '../timing/wakeup.ts';
import type { FinishedTurn, StoredTurn } from '../turn/stored-turn.ts';
import { rideOut } from './ride-out.ts';

/** Without a notification the stored turn is asked for its status after this time. */
const pollMs = 2_000;

export interface ResultOptions {
  /** Ends the waiting, and nothing else: the turn goes on. */
  readonly signal?: AbortSignal;
}

export interface ResultDeps {
  readonly store: Pick<TurnStore, 'get' | 'control'>;
  readonly stream: Pick<TurnReader, 'closed'>;
  readonly notifier: TurnNotifier;
}

/**
 * The turn once it is over, whoever runs it. What is stored decides: notifications only make it sooner, and those of a turn
 * that grows cause no read. Redis or MongoDB being away delays it. Throws NotFoundError, CallAbortedError when the signal
 * aborts, ServiceUnavailableError for a database that stays away for five minutes. Nothing is left behind.
 */
export async function result(
  deps: ResultDeps,
  turnId: string,
  options: ResultOptions = {},
): Promise<FinishedTurn> {
  checkCallOptions(options);
  const { signal } = options;
  const ask = <T>(read: () => Promise<T>) =>
    unlessAborted(
      rideOut(read, () => deps.stream.closed, signal),
      signal,
    );
  try {
    signal?.throwIfAborted();
    return (await ask(() => ended(deps, turnId))) ?? (await waited(deps, turnId, ask, signal));
  } catch (error) {
    // Whatever was away when it came: it is why the caller has no turn.
    if (signal?.aborted) throw new CallAbortedError('result', { cause: signal.reason });
    throw error;
  }
}

async function waited(
  deps: ResultDeps,
  turnId: string,
  ask: <T>(read: () => Promise<T>) => Promise<T>,
  signal: AbortSignal | undefined,
): Promise<FinishedTurn> {
  const wakeup = new Wakeup();
  const unlisten = deps.notifier.listen(turnId, (change) => {
    if (change !== 'grown') wakeup.wake();
  });
  try {
    for (;;) {
      // Once more at first: it may have ended before anybody listened.
      const turn = await ask(() => ended(deps, turnId));
      if (turn) return turn;
      await wakeup.wait(pollMs, signal);
    }
  } finally {
    unlisten();
  }
}

/** Read whole only when it is over: a turn under way may be large, and is asked for often. */
async function ended({ store }: ResultDeps, turnId: string): Promise<FinishedTurn | undefined> {
  const control = await store.control(turnId);
  const turn = control && control.status !== 'pending' ? await store.get(turnId) : undefined;
  if (control === null || turn === null) throw new NotFoundError('turn', turnId);
  return turn && isFinished(turn) ? turn : undefined;
}

const isFinished = (turn: StoredTurn): turn is FinishedTurn => turn.status !== 'pending';
