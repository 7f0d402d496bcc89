import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Client } from 'redlock';
import { RedisScript } from './script.ts';

/**
 * Redlock's scripts by the way of all others (`RedisScript`). By itself Redlock asks by the hash first, whatever it has sent
 * before: a fresh Redis answers each script's first call with an error, which stands in the trace of a turn that went well.
 */
export function redlockClient(redis: Redis): Client {
  const scripts = new Map<string, RedisScript>();
  const scriptOf = (lua: string, keys: number): RedisScript => {
    const known = scripts.get(lua);
    if (known) return known;
    const name = `redlock-${keys}-${createHash('sha1').update(lua).digest('hex')}`;
    const script = new RedisScript(name, keys, lua);
    scripts.set(lua, script);
    return script;
  };
  return {
    // Redis isn't asked: Redlock comes back with the text, and ioredis knows what this connection has sent already.
    evalsha: () => Promise.reject(new Error('NOSCRIPT give the text')),
    eval: (lua, keys, args) => {
      const names = args.slice(0, keys).map(String);
      return scriptOf(lua, keys).run(redis, names, args.slice(keys));
    },
  };
}
