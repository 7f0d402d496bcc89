import { openCodeIds } from '../../src/opencode/v1/ids.ts';
import type { EventFeed, OpenCode } from '../../src/opencode/v1/server.ts';
import { upstreamV1 } from '../../src/opencode/v1/upstream.ts';
import type { Upstream } from '../../src/ports/upstream.ts';
import { type Clock, systemClock } from '../../src/timing/clock.ts';

const noFeed: EventFeed = {
  subscribe: () => {
    throw new Error('there is no event stream here');
  },
};

/** The port over a client. */
export const upstreamOver = (
  client: OpenCode,
  { feed = noFeed, clock = systemClock }: { feed?: EventFeed; clock?: Clock } = {},
): Upstream => upstreamV1({ client, feed, ids: openCodeIds(clock), clock });
