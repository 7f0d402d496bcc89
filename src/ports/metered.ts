import { isAmbiguous, isTurnsError, LockUnavailableError, ServiceUnavailableError } from '../errors.ts';
import type { Meter } from '../instrumentation/meter.ts';
import type { Lock } from './lock.ts';
import { noticed } from './noticed.ts';
import type { Upstream } from './upstream.ts';

/** The same port to MongoDB or Redis; its calls that find the service away are counted, those within it are not. */
export function metered<T extends object>(port: T, meter: Meter): T {
  return noticed(port, {
    failed: (error) => {
      if (error instanceof ServiceUnavailableError && error.service !== 'opencode')
        meter.add('opencode_turns.unavailable', 1, { 'db.system.name': error.service });
    },
  });
}

/** The same lock. What the work under it meets is counted where it meets it. */
export function meteredLock(lock: Lock, meter: Meter): Lock {
  return noticed(lock, {
    failed: (error) => {
      if (error instanceof LockUnavailableError)
        meter.add('opencode_turns.unavailable', 1, { 'db.system.name': 'redis' });
    },
  });
}

/** The same server; its requests that were not answered, or wrongly, are counted. That something is refused is an answer. */
export function meteredUpstream(upstream: Upstream, meter: Meter): Upstream {
  const { hostname, port, protocol } = new URL(upstream.server);
  const server = {
    'server.address': hostname,
    'server.port': Number(port) || (protocol === 'https:' ? 443 : 80),
  };
  return upstream.noticedBy({
    failed: (error) => {
      if (isAmbiguous(error) && isTurnsError(error))
        meter.add('opencode_turns.upstream.errors', 1, { 'error.type': error.code, ...server });
    },
  });
}
