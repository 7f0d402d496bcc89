import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { NewerVersionError, OwnershipLostError } from '../errors.ts';
import type { Fence } from '../ports/turn-store.ts';
import type { StreamBatch, StreamRead, TurnPublisher, TurnReader } from '../ports/turn-stream.ts';
import {
  applyEntry,
  emptyView,
  isEntry,
  type TurnEnd,
  type TurnEntryBody,
  type TurnView,
} from '../turn/entry.ts';
import { beginning, type StreamPlace, type StreamPosition } from '../turn/stream-position.ts';
import { assertReadable, versions } from '../turn/versions.ts';
import { redisError } from './errors.ts';
import { appendScript, readScript } from './stream-scripts.ts';

export interface TurnStreamOptions {
  readonly redis: Redis;
  readonly prefix: string;
  /** Entries kept per turn. Default 5,000: over four minutes at the highest rate. */
  readonly maxLength?: number;
  /** Bytes of entries kept per turn; the last entry is kept whatever its size. Default 8 MiB. */
  readonly maxBytes?: number;
  /** How long a stream lives after its turn ended. Default 10 minutes. */
  readonly keepMs?: number;
  /** How long it lives when nobody writes any more. Default 24 hours. */
  readonly abandonedMs?: number;
}

/** Keys of one turn share a hash tag, so that a cluster keeps them together. */
export const streamKeys = (prefix: string, turnId: string) => ({
  stream: `${prefix}:turn:{${turnId}}:entries`,
  meta: `${prefix}:turn:{${turnId}}:meta`,
  channel: `${prefix}:turn:{${turnId}}`,
});

const everything: StreamBatch = { count: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER };

/**
 * The stream of a turn on Redis: what followers read and resume from. The stored message stays the truth; this
 * is its live edge, bounded in length and time.
 */
export class TurnStream implements TurnPublisher, TurnReader {
  readonly #options: Required<TurnStreamOptions>;

  constructor(options: TurnStreamOptions) {
    this.#options = {
      maxLength: 5_000,
      maxBytes: 8 * 1024 * 1024,
      keepMs: 600_000,
      abandonedMs: 86_400_000,
      ...options,
    };
  }

  async open(fence: Fence): Promise<{ view: TurnView | null; at: StreamPosition }> {
    const at = await this.#append(fence, 'open', []);
    if (!at) throw new OwnershipLostError(fence.turnId, fence.epoch);
    const { entries } = await this.read(fence.turnId, beginning, everything);
    return { at, view: wholeOf(entries) };
  }

  append(
    fence: Fence,
    where: StreamPlace,
    entries: readonly TurnEntryBody[],
  ): Promise<StreamPosition | null> {
    return this.#append(fence, where, entries);
  }

  async end(fence: Fence, end: TurnEnd, view?: TurnView): Promise<void> {
    const whole = view ? [{ type: 'snapshot', view } as const] : [];
    await this.#append(fence, 'any', [...whole, { type: 'finished', ...end }]);
  }

  get closed(): boolean {
    return this.#options.redis.status === 'end';
  }

  async read(turnId: string, after: StreamPosition, batch: StreamBatch): Promise<StreamRead> {
    const { redis, prefix } = this.#options;
    const { stream, meta } = streamKeys(prefix, turnId);
    try {
      const args = [after.stream, after.number, batch.count, batch.bytes];
      const [name, last, known, ...rows] = (await readScript.run(redis, [stream, meta], args)) as Answer;
      const entries = rows.flatMap((id, at) =>
        at % 3 === 0 ? [entryOf(turnId, id, rows[at + 1], rows[at + 2])] : [],
      );
      const size = rows.reduce<number>((sum, row, at) => (at % 3 === 1 ? sum + String(row).length : sum), 0);
      return { last: { stream: name, number: Number(last) }, known: known === 1, entries, size };
    } catch (error) {
      throw redisError(error);
    }
  }

  /** Whether nothing was told for `quietMs`, and no end either: its writer may be gone. */
  async isQuiet(turnId: string, quietMs: number): Promise<boolean> {
    const { redis, prefix, abandonedMs } = this.#options;
    const { meta } = streamKeys(prefix, turnId);
    try {
      const [ended, leftMs] = await Promise.all([redis.hexists(meta, 'ended'), redis.pttl(meta)]);
      return ended === 0 && leftMs >= 0 && leftMs <= abandonedMs - quietMs;
    } catch (error) {
      throw redisError(error);
    }
  }

  async remove(turnId: string): Promise<void> {
    const { redis, prefix } = this.#options;
    const { stream, meta } = streamKeys(prefix, turnId);
    try {
      await redis.del(stream, meta);
    } catch (error) {
      throw redisError(error);
    }
  }

  async #append(
    fence: Fence,
    where: StreamPlace | 'open',
    entries: readonly TurnEntryBody[],
  ): Promise<StreamPosition | null> {
    const { redis, prefix, maxLength, maxBytes, keepMs, abandonedMs } = this.#options;
    const { stream, meta, channel } = streamKeys(prefix, fence.turnId);
    const ends = entries.at(-1)?.type === 'finished';
    const place = typeof where === 'string' ? [where, 0] : [where.stream || 'none', where.number];
    const bounds = [fence.epoch, maxLength, maxBytes, ends ? keepMs : abandonedMs, ends ? 'end' : ''];
    const rows = entries.map((entry) => JSON.stringify(entry));
    const fresh = randomBytes(6).toString('hex');
    try {
      const args = [...bounds, ...place, fresh, versions.entry, ...rows];
      const [number, name] = (await appendScript.run(redis, [stream, meta, channel], args)) as [
        number,
        string,
      ];
      if (number === -1) throw new OwnershipLostError(fence.turnId, fence.epoch);
      return number === -2 ? null : { stream: name, number };
    } catch (error) {
      throw redisError(error);
    }
  }
}

/** What cannot be told for certain counts as not known: then all of it is told again. So does what a newer release has told. */
function wholeOf(entries: StreamRead['entries']): TurnView | null {
  try {
    const bodies = entries.flatMap(({ body }) => body ?? []);
    const whole = entries[0]?.number === 1 && bodies.length === entries.length;
    return whole ? bodies.reduce(applyEntry, emptyView) : null;
  } catch (error) {
    if (error instanceof NewerVersionError) return null;
    throw error;
  }
}

type Answer = [string, number, number, ...(string | number)[]];

/** Read only when it is looked at: a reader who is slow holds the text of his batch and nothing more. */
const entryOf = (
  turnId: string,
  id: unknown,
  text: unknown,
  version: unknown,
): StreamRead['entries'][number] => ({
  number: Number.parseInt(String(id), 10),
  get body() {
    if (version !== '' && !/^\d{1,9}$/.test(String(version))) return undefined;
    assertReadable('entry', turnId, Number(version));
    return bodyOf(text);
  },
});

/** Whoever can write to Redis can write anything: what is no entry must not end the reading of those that are. */
function bodyOf(text: unknown): TurnEntryBody | undefined {
  try {
    const body: unknown = JSON.parse(String(text));
    return isEntry(body) ? body : undefined;
  } catch {
    return undefined;
  }
}
