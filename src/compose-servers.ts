import { makeDirectory } from './artifacts/make-directory.ts';
import type { Closers } from './closers.ts';
import { InvalidConfigError } from './errors.ts';
import { MongoSessionStore } from './mongodb/session-store.ts';
import { serverProbe } from './opencode/probe.ts';
import { openTransport } from './opencode/transport.ts';
import { openCodeClient } from './opencode/v1/client.ts';
import { EventHub } from './opencode/v1/event-hub.ts';
import { openCodeIds } from './opencode/v1/ids.ts';
import { upstreamV1 } from './opencode/v1/upstream.ts';
import { metered, meteredLock, meteredUpstream } from './ports/metered.ts';
import type { Upstream } from './ports/upstream.ts';
import { ConversationLock } from './redis/lock.ts';
import type { SessionDeps } from './session/handle.ts';
import type { Shared } from './shared.ts';

/** What sessions are kept with, by workers and by hosts. */
export function sessionDeps({ settings, redis, prefix, conversations, meter, reporter }: Shared) {
  const lock = new ConversationLock({ redis, prefix, reporter, leaseMs: settings.lockLeaseMs });
  return {
    sessions: metered(new MongoSessionStore(conversations), meter),
    lock: meteredLock(lock, meter),
    sandboxRoot: settings.sandboxRoot,
    prepareDirectory: async (directory: string) => {
      await makeDirectory(directory).catch((error) => {
        reporter.report(error, { action: 'sandbox.prepare', severity: 'warning' });
      });
    },
  };
}

/** A connection to each server; none is made before it is asked something. */
export function upstreams(
  { servers, tracer, meter, reporter, clock }: Shared,
  closers: Closers,
): readonly Upstream[] {
  const ids = openCodeIds(clock);
  return servers.map((address) => {
    const transport = openTransport();
    const probe = serverProbe({ address, reporter, transport });
    const feed = new EventHub({ address, reporter, probe });
    closers.add(`events of ${address.server}`, () => feed.close());
    const client = openCodeClient({ address, tracer, probe, transport });
    return meteredUpstream(upstreamV1({ client, feed, ids, clock }), meter);
  });
}

export function serverNamed(servers: readonly Upstream[], name: string | undefined): Upstream {
  const found = name === undefined ? servers[0] : servers.find(({ server }) => server === name);
  if (found) return found;
  const known = servers.map(({ server }) => server).join(', ');
  throw new InvalidConfigError(
    'opencode',
    `a session lives on ${name}, which is not configured here (known: ${known})`,
  );
}

/** What `SessionHandle`s work with; what is opened is `closers`' to close. */
export function handleDeps(shared: Shared, closers: Closers): SessionDeps {
  const servers = upstreams(shared, closers);
  const { sessions: store, ...deps } = sessionDeps(shared);
  const { prefix, tracer, reporter, clock } = shared;
  const upstream = (server?: string) => serverNamed(servers, server);
  return { ...deps, store, upstream, prefix, tracer, reporter, clock };
}
