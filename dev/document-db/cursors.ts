import { calculateObjectSize, Long } from 'bson';
import { type Clock, systemClock } from '../../src/timing/clock.ts';
import { CommandError } from './errors.ts';
import type { Doc } from './values.ts';

const defaultBatch = 101;
const maxBatchBytes = 16 * 1024 * 1024 - 64 * 1024;
const idleMs = 10 * 60_000;
const maxCursors = 10_000;

interface Cursor {
  readonly namespace: string;
  docs: readonly Doc[];
  usedAt: number;
}

/** Results that did not fit into one answer, kept until they are read, killed, or idle for ten minutes. */
export class Cursors {
  readonly #cursors = new Map<bigint, Cursor>();
  readonly #clock: Clock;
  #last = 0n;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** The first batch, and a cursor for the rest. */
  open(namespace: string, docs: readonly Doc[], batchSize = defaultBatch, single = false): Doc {
    const { batch, rest } = take(docs, batchSize);
    let id = 0n;
    if (rest.length > 0 && !single) {
      this.#reap();
      const [oldest] = this.#cursors.keys();
      if (oldest !== undefined && this.#cursors.size >= maxCursors) this.#cursors.delete(oldest);
      this.#last += 1n;
      id = this.#last;
      this.#cursors.set(id, { namespace, docs: rest, usedAt: this.#clock.monotonicMs() });
    }
    return { cursor: { firstBatch: batch, id: Long.fromBigInt(id), ns: namespace } };
  }

  /** The next batch; no size, or 0, asks for as much as fits. */
  more(id: bigint, namespace: string, batchSize = 0): Doc {
    this.#reap();
    const cursor = this.#cursors.get(id);
    if (!cursor) throw new CommandError(43, `cursor id ${id} not found`);
    if (cursor.namespace !== namespace)
      throw new CommandError(
        13,
        `Requested getMore on namespace '${namespace}', but cursor belongs to another`,
      );
    const { batch, rest } = take(cursor.docs, batchSize || Number.POSITIVE_INFINITY);
    cursor.docs = rest;
    cursor.usedAt = this.#clock.monotonicMs();
    if (rest.length === 0) this.#cursors.delete(id);
    return {
      cursor: { nextBatch: batch, id: Long.fromBigInt(rest.length === 0 ? 0n : id), ns: cursor.namespace },
    };
  }

  kill(ids: readonly bigint[]): Doc {
    const cursorsKilled = ids.filter((id) => this.#cursors.delete(id));
    const cursorsNotFound = ids.filter((id) => !cursorsKilled.includes(id));
    const longs = (list: readonly bigint[]) => list.map((id) => Long.fromBigInt(id));
    return {
      cursorsKilled: longs(cursorsKilled),
      cursorsNotFound: longs(cursorsNotFound),
      cursorsAlive: [],
      cursorsUnknown: [],
    };
  }

  #reap(): void {
    const now = this.#clock.monotonicMs();
    for (const [id, { usedAt }] of this.#cursors) if (now - usedAt > idleMs) this.#cursors.delete(id);
  }
}

function take(docs: readonly Doc[], batchSize: number): { batch: Doc[]; rest: readonly Doc[] } {
  const batch: Doc[] = [];
  let bytes = 0;
  for (const doc of docs.slice(0, batchSize)) {
    bytes += calculateObjectSize(doc);
    if (bytes > maxBatchBytes && batch.length > 0) break;
    batch.push(doc);
  }
  return { batch, rest: docs.slice(batch.length) };
}
