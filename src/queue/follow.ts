import type { Redis } from 'ioredis';
import { InvalidInputError, isRetryable, NotFoundError } from '../errors.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';
import { Wakeup } from '../timing/wakeup.ts';
import type { TurnStore } from '../turn/ports.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import { type TurnEnd, type TurnEntry, type TurnView, toldFailure } from '../turn/turn-entry.ts';
import type { Nudges } from './turn-nudges.ts';
import { streamKeys, type TurnStream } from './turn-stream.ts';

/** Without a nudge the stream is read again after this time; the nudge is only a hint. */
const pollMs = 2_000;
const batch = 500;
/** A service that is away is waited for so long, each time, from the first look on. */
const awayMs = 300_000;
const awayBackoff = { firstMs: 200, maxMs: 2_000, jitter: 0.3 };

export interface FollowOptions {
  /** The id of the last entry seen; the first one yielded comes behind it. */
  readonly after?: string;
  /** Ends the iteration without an error. Following less never cancels a turn. */
  readonly signal?: AbortSignal;
}

export interface FollowDeps {
  /** The stream's connection: one that was closed on purpose does not come back. */
  readonly redis: Pick<Redis, 'status'>;
  readonly store: Pick<TurnStore, 'get'>;
  readonly stream: Pick<TurnStream, 'read' | 'lastNumber'>;
  readonly nudges: Nudges;
  readonly prefix: string;
}

/**
 * Entries of a turn from its beginning, or from behind a cursor, to the terminal one; then it ends. When what
 * comes next is no longer kept, a `snapshot` entry comes first and replaces all that the reader holds.
 * Redis or MongoDB being away, also when it begins, delays it. Throws NotFoundError, InvalidInputError for a cursor that
 * is none, ServiceUnavailableError for a service that stays away for five minutes.
 */
export async function* follow(
  given: FollowDeps,
  turnId: string,
  options: FollowOptions,
): AsyncGenerator<TurnEntry> {
  const { signal } = options;
  const deps = ridingOut(given, signal);
  let cursor = parseCursor(options.after);
  const wakeup = new Wakeup();
  const stop = () => wakeup.wake();
  const unlisten = deps.nudges.listen(streamKeys(deps.prefix, turnId).channel, () => wakeup.wake());
  signal?.addEventListener('abort', stop);
  try {
    await existing(deps.store, turnId);
    for (let nudged = false; !signal?.aborted; ) {
      const entries = await deps.stream.read(turnId, cursor, batch);
      const first = entries[0]?.number;
      const last = first === undefined ? await deps.stream.lastNumber(turnId) : undefined;
      const missed = (first ?? cursor + 1) > cursor + 1 || (last ?? cursor) < cursor;
      // The stored turn is read when something is missing or nothing is heard, never while entries flow.
      if (missed || (entries.length === 0 && !nudged)) {
        const turn = await existing(deps.store, turnId);
        if (entries.length === 0 && turn.status !== 'pending') {
          yield* ending(deps, turn, cursor, last ?? 0);
          return;
        }
        if (missed) {
          // The snapshot may be older than what is kept, never newer than what is told: go on with what is kept.
          cursor = last ?? Math.max(turn.run.cursor ?? 0, (first ?? 1) - 1);
          yield { type: 'snapshot', id: String(cursor), view: viewOf(turn) };
          continue;
        }
      }
      for (const { number, body } of entries) {
        cursor = number;
        yield { ...body, id: String(number) };
        if (body.type === 'finished' || signal?.aborted) return;
      }
      if (entries.length < batch) nudged = await wakeup.wait(pollMs);
    }
  } catch (error) {
    // The service was away when the reader left: that is no error of his.
    if (!signal?.aborted) throw error;
  } finally {
    unlisten();
    signal?.removeEventListener('abort', stop);
  }
}

/** The same, asked again while a service is away. */
function ridingOut({ store, stream, ...deps }: FollowDeps, signal: AbortSignal | undefined): FollowDeps {
  const again = (error: unknown) => isRetryable(error) && deps.redis.status !== 'end';
  const patiently = async <T>(ask: () => Promise<T>): Promise<T> => {
    try {
      return await ask();
    } catch (error) {
      if (!again(error)) throw error;
      return within(awayMs, (limit) => persevere(ask, { ...awayBackoff, again }, limit), signal);
    }
  };
  return {
    ...deps,
    store: { get: (id) => patiently(() => store.get(id)) },
    stream: {
      read: (...args) => patiently(() => stream.read(...args)),
      lastNumber: (id) => patiently(() => stream.lastNumber(id)),
    },
  };
}

/**
 * The turn is terminal. Its last entry may be on its way, lost with its writer, or expired with the stream; or told
 * after the look at the entries and before the one at their last number, so the entries are read again from the cursor.
 */
async function* ending(
  deps: FollowDeps,
  turn: StoredTurn,
  cursor: number,
  lastNumber: number,
): AsyncGenerator<TurnEntry> {
  let last = Math.max(cursor, lastNumber);
  for (const { number, body } of await deps.stream.read(turn.id, cursor, batch)) {
    last = number;
    yield { ...body, id: String(number) };
    if (body.type === 'finished') return;
  }
  yield { type: 'snapshot', id: String(last), view: viewOf(turn) };
  const end = endOf(turn);
  if (end) yield { type: 'finished', ...end, id: String(last + 1) };
}

async function existing(store: FollowDeps['store'], turnId: string): Promise<StoredTurn> {
  const turn = await store.get(turnId);
  if (!turn) throw new NotFoundError('turn', turnId);
  return turn;
}

function parseCursor(after: string | undefined): number {
  if (after === undefined || after === '') return 0;
  if (/^\d{1,15}$/.test(after)) return Number(after);
  throw new InvalidInputError('after', 'must be the id of an entry that this turn has yielded');
}

/** The stored turn as followers see it. */
export function viewOf(turn: StoredTurn): TurnView {
  const end = endOf(turn);
  return {
    status: turn.status,
    phase: end ? 'finished' : turn.run.phase === 'queued' ? 'queued' : 'prompted',
    parts: turn.parts,
    prompts: turn.prompts.map(({ answer: _answer, ...prompt }) => prompt),
    artifacts: turn.artifacts,
    ...(turn.usage ? { usage: turn.usage } : {}),
    ...(end ? { end } : {}),
  };
}

/** Undefined while the turn is pending. */
export function endOf(turn: StoredTurn): TurnEnd | undefined {
  if (turn.status === 'pending') return undefined;
  const { usage, durationMs, timeToFirstTokenMs } = turn;
  return {
    status: turn.status,
    text: turn.content,
    ...(turn.error ? { error: toldFailure(turn.error) } : {}),
    ...(turn.notice ? { notice: turn.notice } : {}),
    ...(usage ? { usage } : {}),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(timeToFirstTokenMs === undefined ? {} : { timeToFirstTokenMs }),
  };
}
