import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { LeaseLostError, messageOf } from '../errors.ts';
import type { Fence, TurnPublisher } from '../turn/ports.ts';
import {
  applyEntry,
  emptyView,
  type TurnEnd,
  type TurnEntryBody,
  type TurnView,
} from '../turn/turn-entry.ts';
import { redisError } from './redis-errors.ts';

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

/**
 * Appends entries under a fence. Entry ids are 1-0, 2-0, 3-0 …, so a reader sees from an id alone whether
 * something in front of it is missing. One script, hence one decision: epoch, numbers, entries, end and nudge.
 * Answers -1 to an older epoch, and the unchanged number once the stream has ended. Each entry carries the bytes that
 * were told before it: so those of what is kept are known, however it was trimmed.
 * ARGV: epoch, max length, time to live in ms, "end" or "", max bytes, entries…
 */
const appendScript = `
local epoch = tonumber(redis.call('HGET', KEYS[2], 'epoch') or '0')
if epoch > tonumber(ARGV[1]) then return -1 end
local n = tonumber(redis.call('HGET', KEYS[2], 'n') or '0')
if redis.call('HEXISTS', KEYS[2], 'ended') == 1 then return n end
local bytes = tonumber(redis.call('HGET', KEYS[2], 'bytes') or '0')
for i = 6, #ARGV do
  n = n + 1
  redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], n .. '-0', 'e', ARGV[i], 'b', bytes)
  bytes = bytes + #ARGV[i]
end
while #ARGV > 5 do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local before = oldest and tonumber(oldest[2][4])
  if not before or oldest[1] == n .. '-0' or bytes - before <= tonumber(ARGV[5]) then break end
  redis.call('XDEL', KEYS[1], oldest[1])
end
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'n', n, 'bytes', bytes)
if ARGV[4] == 'end' then redis.call('HSET', KEYS[2], 'ended', 1) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PUBLISH', KEYS[3], n)
return n
`;

const appendSha = createHash('sha1').update(appendScript).digest('hex');

/**
 * The stream of a turn on Redis: what followers read and resume from. The stored message stays the truth; this
 * is its live edge, bounded in length and time.
 */
export class TurnStream implements TurnPublisher {
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

  async open(fence: Fence): Promise<TurnView | null> {
    await this.append(fence, []);
    const entries = await this.read(fence.turnId, 0, this.#options.maxLength);
    const first = entries[0];
    if (first === undefined || first.number !== 1) return null;
    return entries.reduce((view, { body }) => applyEntry(view, body), emptyView);
  }

  append(fence: Fence, entries: readonly TurnEntryBody[]): Promise<number> {
    return this.#append(fence, entries, this.#options.abandonedMs, '');
  }

  async end(fence: Fence, end: TurnEnd): Promise<void> {
    await this.#append(fence, [{ type: 'finished', ...end }], this.#options.keepMs, 'end');
  }

  /** Entries behind number `after`, at most `count`, in order. */
  async read(
    turnId: string,
    after: number,
    count: number,
  ): Promise<{ number: number; body: TurnEntryBody }[]> {
    const { stream } = streamKeys(this.#options.prefix, turnId);
    try {
      const rows = await this.#options.redis.xrange(stream, `${after + 1}-0`, '+', 'COUNT', count);
      return rows.map(([id, fields]) => ({
        number: Number.parseInt(id, 10),
        body: JSON.parse(fields[1] ?? '{}') as TurnEntryBody,
      }));
    } catch (error) {
      throw redisError(error);
    }
  }

  /** The number of the last entry, 0 when the stream is empty or gone. */
  async lastNumber(turnId: string): Promise<number> {
    try {
      return Number(
        (await this.#options.redis.hget(streamKeys(this.#options.prefix, turnId).meta, 'n')) ?? 0,
      );
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
    entries: readonly TurnEntryBody[],
    ttlMs: number,
    end: string,
  ): Promise<number> {
    const { prefix, maxLength, maxBytes } = this.#options;
    const { stream, meta, channel } = streamKeys(prefix, fence.turnId);
    const rows = entries.map((entry) => JSON.stringify(entry));
    try {
      const args = [fence.epoch, maxLength, ttlMs, end, maxBytes, ...rows];
      const number = Number(await this.#script([stream, meta, channel], args));
      if (number < 0) throw new LeaseLostError(fence.turnId, fence.epoch);
      return number;
    } catch (error) {
      throw redisError(error);
    }
  }

  /** By its hash: the text goes over only to a Redis that has not seen it yet, or has lost its scripts. */
  async #script(keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const { redis } = this.#options;
    try {
      return await redis.evalsha(appendSha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      return redis.eval(appendScript, keys.length, ...keys, ...args);
    }
  }
}
