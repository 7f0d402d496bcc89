import type { Redis } from 'ioredis';
import { NewerVersionError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { TurnStore } from '../ports/turn-store.ts';
import { endOf, viewOf } from '../turn/stored-view.ts';
import { redisError } from './errors.ts';
import { streamKeys, type TurnStream } from './turn-stream.ts';

export interface OrphanStreamsOptions {
  readonly redis: Redis;
  readonly prefix: string;
  readonly store: TurnStore;
  readonly stream: TurnStream;
  readonly reporter: ErrorReporter;
  /** A stream that was written to since then is left alone: its writer may be about to end it. Default 10 minutes. */
  readonly quietMs?: number;
}

/** Keys of any kind that one step walks over; bounds what a step costs a Redis that is shared with others. */
const keysPerStep = 1_000;

/**
 * Streams whose turn is over and which nobody ended, because their writer died between the stored end and the
 * told one: they would be kept for a day. Each step walks over some of the keys, and the next one goes on there.
 */
export class OrphanStreams {
  readonly #options: OrphanStreamsOptions;
  #cursor = '0';

  constructor(options: OrphanStreamsOptions) {
    this.#options = options;
  }

  /** Tells the end of streams whose turn is terminal, removes those without a turn. Returns how many they were. */
  async step(): Promise<number> {
    const { redis, prefix, reporter } = this.#options;
    const { meta } = streamKeys(prefix, '*');
    try {
      // Braces have no meaning in a pattern; brackets, stars and question marks of a prefix are the host's own fault.
      const [next, keys] = await redis.scan(this.#cursor, 'MATCH', meta, 'COUNT', keysPerStep);
      this.#cursor = next;
      let ended = 0;
      for (const turnId of keys.flatMap((key) => /\{([0-9a-f]{24})\}/.exec(key)?.[1] ?? [])) {
        try {
          if (await this.#end(turnId)) ended += 1;
        } catch (error) {
          // Of a newer release: its own sweeper knows what its end is.
          if (error instanceof NewerVersionError) continue;
          reporter.report(error, { action: 'sweeper.stream', severity: 'warning', turnId });
        }
      }
      return ended;
    } catch (error) {
      throw redisError(error);
    }
  }

  async #end(turnId: string): Promise<boolean> {
    const { store, stream, quietMs = 600_000 } = this.#options;
    if (!(await stream.isQuiet(turnId, quietMs))) return false;
    const turn = await store.get(turnId);
    const end = turn && endOf(turn);
    if (turn && !end) return false;
    if (turn && end) await stream.end({ turnId, epoch: turn.run.epoch }, end, viewOf(turn));
    else await stream.remove(turnId);
    return true;
  }
}
