import type { Redis } from 'ioredis';
import type { ControlNotifier, TurnChange, TurnNotifier } from '../ports/notifier.ts';
import type { Subscriber } from './subscriber.ts';
import { streamKeys } from './turn-stream.ts';

/** Notified with each append to a turn's stream. */
export const streamNotifier = (subscriber: Subscriber, prefix: string): TurnNotifier => ({
  listen: (turnId, changed) =>
    subscriber.listen(streamKeys(prefix, turnId).channel, (message) => changed(changeIn(message))),
});

/** Of a message of `appendScript`: the number of the last entry, or that there comes no more. */
function changeIn(message: string | undefined): TurnChange {
  if (message === undefined) return 'unknown';
  return message === 'end' ? 'ended' : 'grown';
}

/** Stored requests of people for turns of all workers, by turn id: they are rare, and turns are many. */
export const controlChannel = (prefix: string): string => `${prefix}:control`;

export interface ControlNotifierOptions {
  readonly subscriber: Subscriber;
  /** A connection of the role `commands`. */
  readonly redis: Pick<Redis, 'publish'>;
  readonly prefix: string;
}

/** One subscription for all turns of this process, from the first that listens on. */
export function controlNotifier({ subscriber, redis, prefix }: ControlNotifierOptions): ControlNotifier {
  const owners = new Map<string, Set<(change: TurnChange) => void>>();
  let subscribed = false;
  const tell = (turnId: string | undefined) => {
    const told = turnId === undefined ? [...owners.values()] : [owners.get(turnId) ?? []];
    for (const owner of told) for (const changed of owner) changed('unknown');
  };
  return {
    notify: async (turnId) => {
      await redis.publish(controlChannel(prefix), turnId);
    },
    listen: (turnId, changed) => {
      const owner = owners.get(turnId) ?? new Set();
      owners.set(turnId, owner.add(changed));
      if (!subscribed) subscriber.listen(controlChannel(prefix), tell);
      subscribed = true;
      return () => {
        owner.delete(changed);
        if (owner.size === 0 && owners.get(turnId) === owner) owners.delete(turnId);
      };
    },
  };
}
