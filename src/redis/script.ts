import type { Redis } from 'ioredis';

type Call = (...args: (string | number)[]) => Promise<unknown>;

/**
 * A script that runs as one step of Redis. ioredis sends its text with the first call of each connection and its hash
 * after that; a Redis that has lost its scripts gets the text again.
 */
export class RedisScript {
  readonly #name: string;
  readonly #keys: number;
  readonly #lua: string;

  constructor(name: string, keys: number, lua: string) {
    this.#name = name;
    this.#keys = keys;
    this.#lua = lua;
  }

  /** Errors: those of ioredis. */
  run(redis: Redis, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const commands = redis as unknown as Record<string, Call | undefined>;
    if (!commands[this.#name]) redis.defineCommand(this.#name, { lua: this.#lua, numberOfKeys: this.#keys });
    return (commands[this.#name] as Call).call(redis, ...keys, ...args);
  }
}
