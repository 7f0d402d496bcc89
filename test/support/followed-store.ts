import type { FollowDeps } from '../../src/live/follow.ts';
import type { StoredTurn } from '../../src/turn/stored-turn.ts';

/** All that a follower asks of a store, of one turn. */
export const followedStore = (get: (id: string) => Promise<StoredTurn | null>): FollowDeps['store'] => ({
  get,
  control: async (id) => {
    const turn = await get(id);
    return turn && { status: turn.status, requests: turn.requests, run: turn.run };
  },
});
