import { checkCallOptions } from '../checking/check-signal.ts';
import { InvalidInputError, NotFoundError } from '../errors.ts';
import type { Levels } from '../instrumentation/level.ts';
import type { TurnNotifier } from '../ports/notifier.ts';
import type { TurnStore } from '../ports/turn-store.ts';
import type { StreamRead, TurnReader } from '../ports/turn-stream.ts';
import { backoffMs } from '../timing/backoff.ts';
import { Wakeup } from '../timing/wakeup.ts';
import type { TurnEntry } from '../turn/entry.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import { endOf, viewOf } from '../turn/stored-view.ts';
import { beginning, cursorOf, positionOf, type StreamPosition } from '../turn/stream-position.ts';
import { ReaderShare } from './reader-share.ts';
import { rideOut } from './ride-out.ts';

/**
 * Without a notification the stream is read again after this time, and after twice as long each time that nothing was there:
 * a lost one costs that. Whoever waits for a person is many, and asks rarely.
 */
const polls = { firstMs: 2_000, maxMs: 15_000 };

export interface FollowOptions {
  /** The id of the last entry seen; the first one yielded comes behind it. */
  readonly after?: string;
  /** Ends the iteration without an error. Following less never cancels a turn. */
  readonly signal?: AbortSignal;
}

export interface FollowDeps {
  readonly store: Pick<TurnStore, 'get' | 'control'>;
  readonly stream: TurnReader;
  /** Hints that a turn's stream has grown. */
  readonly notifier: TurnNotifier;
  readonly levels: Pick<Levels, 'followers'>;
}

/**
 * Entries of a turn from its beginning, or from behind a cursor, to the terminal one; then it ends. When what comes next
 * is no longer kept, or the cursor is of a stream that Redis has lost, a `snapshot` entry comes first and replaces all
 * that the reader holds. Whatever was lost in between, what a reader holds in the end is what is stored. Nothing is
 * read ahead of a reader who does not ask, but for one batch of a bounded size (`ReaderShare`).
 * Redis or MongoDB being away, also when it begins, delays it. Throws NotFoundError, InvalidInputError for a cursor that is
 * none, ServiceUnavailableError for a service that stays away for five minutes, and NewerVersionError behind all that
 * this release can read: a process of the newer one goes on from there.
 */
export async function* follow(
  given: FollowDeps,
  turnId: string,
  options: FollowOptions,
): AsyncGenerator<TurnEntry> {
  checkCallOptions(options);
  const { signal } = options;
  const deps = ridingOut(given, signal);
  let at = parseCursor(options.after);
  /** The last snapshot may lack something in front of `at`: it is made good by one before the end. */
  let doubtful = false;
  const share = new ReaderShare();
  const wakeup = new Wakeup();
  const stop = () => wakeup.wake();
  const leave = deps.levels.followers.enter();
  const unlisten = deps.notifier.listen(turnId, () => wakeup.wake());
  signal?.addEventListener('abort', stop);
  try {
    for (let [notified, silent] = [false, 0]; !signal?.aborted; ) {
      const read = await deps.stream.read(turnId, at, share.take());
      const { last, entries } = read;
      share.keep(read.size);
      const missed = missedBy(at, read);
      // The stored turn is asked for when something is missing or nothing is heard, never while entries flow.
      if (missed !== undefined || (entries.length === 0 && !notified)) {
        const turn = await storedUnless(deps.store, turnId, missed === undefined);
        if (turn && entries.length === 0 && turn.status !== 'pending') {
          yield* ending(deps, turn, share, at, doubtful);
          return;
        }
        if (turn && missed !== undefined) {
          // The snapshot may be older than what is kept, never newer than what is told: go on with what is kept.
          const stored = turn.run.stream === last.stream ? (turn.run.cursor ?? 0) : 0;
          at = { stream: last.stream, number: Math.min(Math.max(stored, missed), last.number) };
          doubtful = at.number > stored;
          yield { type: 'snapshot', id: idOf(at, doubtful), view: viewOf(turn) };
          continue;
        }
      }
      at = { stream: last.stream, number: at.number };
      for (const { number, body } of entries) {
        // Not ours: the next read starts in front of it, and a snapshot takes its place.
        if (!body) break;
        if (body.type === 'finished' && doubtful) {
          doubtful = false;
          yield { type: 'snapshot', id: cursorOf(at), view: viewOf(await existing(deps.store, turnId)) };
        }
        if (body.type === 'snapshot') doubtful = false;
        at = { stream: last.stream, number };
        yield { ...body, id: idOf(at, doubtful) };
        if (body.type === 'finished' || signal?.aborted) return;
      }
      if (at.number < last.number) continue;
      notified = await wakeup.wait(backoffMs(silent, polls));
      silent = notified || entries.length > 0 ? 0 : silent + 1;
    }
  } catch (error) {
    // The service was away when the reader left: that is no error of his.
    if (!signal?.aborted) throw error;
  } finally {
    share.release();
    leave();
    unlisten();
    signal?.removeEventListener('abort', stop);
  }
}

/** The same, asked again while a service is away. */
function ridingOut({ store, stream, ...deps }: FollowDeps, signal: AbortSignal | undefined): FollowDeps {
  const patiently = <T>(ask: () => Promise<T>) => rideOut(ask, () => stream.closed, signal);
  return {
    ...deps,
    store: {
      get: (id) => patiently(() => store.get(id)),
      control: (id) => patiently(() => store.control(id)),
    },
    stream: {
      get closed() {
        return stream.closed;
      },
      read: (...args) => patiently(() => stream.read(...args)),
    },
  };
}

/** One who lacks something, leaves, and comes back is known by it: his cursor is of a stream that nobody knows. */
const idOf = (at: StreamPosition, doubtful: boolean) => cursorOf(doubtful ? { ...at, stream: '' } : at);

/**
 * Where a reader who has missed something goes on at the earliest, once he has a snapshot; undefined when he has not. A
 * stream gives the whole state from its first entry on: what is read twice changes nothing, what is left out may.
 */
function missedBy(at: StreamPosition, { known, entries, last }: StreamRead): number | undefined {
  if (!known) return 0;
  const [first] = entries;
  if (!first) return last.number > at.number ? last.number : undefined;
  if (!first.body) return first.number;
  return first.number > at.number + 1 ? first.number - 1 : undefined;
}

/**
 * The turn is terminal. Its last entry may be on its way, lost with its writer, or expired with the stream; or told
 * after the look at the entries and before the one at their last number, so the entries are read again.
 */
async function* ending(
  deps: FollowDeps,
  turn: StoredTurn,
  share: ReaderShare,
  from: StreamPosition,
  doubtful: boolean,
): AsyncGenerator<TurnEntry> {
  const { entries, last } = await deps.stream.read(turn.id, from, share.take());
  // They go on exactly where this reader stands: one of another stream, or with a gap, needs the whole state.
  const rest = entries.flatMap(({ number, body }, at) =>
    body && number === from.number + at + 1 ? { ...body, id: cursorOf({ ...last, number }) } : [],
  );
  if (!doubtful && rest.length === entries.length && rest.at(-1)?.type === 'finished') {
    yield* rest;
    return;
  }
  const number = Math.max(from.number, last.number);
  yield { type: 'snapshot', id: cursorOf({ ...last, number }), view: viewOf(turn) };
  const end = endOf(turn);
  if (end) yield { type: 'finished', ...end, id: cursorOf({ ...last, number: number + 1 }) };
}

/** Read whole only when it is needed so: one under way may be large, and has many followers. Undefined while it is pending, then. */
async function storedUnless(
  store: FollowDeps['store'],
  turnId: string,
  pending: boolean,
): Promise<StoredTurn | undefined> {
  if (pending) {
    const control = await store.control(turnId);
    if (!control) throw new NotFoundError('turn', turnId);
    if (control.status === 'pending') return undefined;
  }
  return existing(store, turnId);
}

async function existing(store: FollowDeps['store'], turnId: string): Promise<StoredTurn> {
  const turn = await store.get(turnId);
  if (!turn) throw new NotFoundError('turn', turnId);
  return turn;
}

/** Whoever serves a stream passes on what a client sent: a query that came twice is a list. */
function parseCursor(after: unknown): StreamPosition {
  if (after === undefined || after === '') return beginning;
  const position = typeof after === 'string' ? positionOf(after) : undefined;
  if (position) return position;
  throw new InvalidInputError('after', 'must be the id of an entry that this turn has yielded');
}
