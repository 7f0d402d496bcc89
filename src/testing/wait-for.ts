import { within } from '../timing/time-limit.ts';
import { applyEntry, emptyView, type TurnView } from '../turn/entry.ts';
import type { FinishedTurn, InputRequest } from '../turn/stored-turn.ts';
import type { Turns } from '../turns.ts';

export type Followed = Pick<Turns, 'follow' | 'result'>;

export interface WaitOptions {
  /** By the system's clock, also where the turn has another one. Default 5,000. */
  readonly timeoutMs?: number;
}

/**
 * The turn once it has ended, as it is stored; the hooks that are told of its end may still run. Throws NotFoundError, and
 * an error that says how far the turn has come when it has not ended in time.
 */
export async function waitForTurn(
  turns: Followed,
  turnId: string,
  options: WaitOptions = {},
): Promise<FinishedTurn> {
  await followUntil(turns, turnId, ({ end }) => end, options);
  return turns.result(turnId);
}

/** What the turn asks a person, once it does. Throws as `waitForTurn`, also when the turn ends without. */
export function waitForRequest(
  turns: Followed,
  turnId: string,
  options: WaitOptions = {},
): Promise<InputRequest> {
  return followUntil(
    turns,
    turnId,
    ({ requests }) => requests.find(({ state }) => state === 'open'),
    options,
  );
}

/** The view of a follower once something is in it. */
async function followUntil<T>(
  turns: Followed,
  turnId: string,
  find: (view: TurnView) => T | undefined,
  { timeoutMs = 5_000 }: WaitOptions,
): Promise<T> {
  return within(timeoutMs, async (signal) => {
    let view = emptyView;
    for await (const entry of turns.follow(turnId, { signal })) {
      view = applyEntry(view, entry);
      const found = find(view);
      if (found !== undefined) return found;
    }
    const { status, progress } = view;
    const when = signal.aborted ? `after ${timeoutMs} ms` : 'at its end';
    throw new Error(
      `turn ${turnId} is ${status}${progress ? ` (${progress})` : ''} ${when}: not what was waited for`,
    );
  });
}
