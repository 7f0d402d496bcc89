import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Model } from 'mongoose';
import type { BullTurnJobs } from './bullmq/turn-jobs.ts';
import { TurnWorker } from './bullmq/turn-worker.ts';
import type { Closers } from './closers.ts';
import { serverNamed, sessionDeps, upstreams } from './compose-servers.ts';
import { workSettings } from './config/work-settings.ts';
import type { Observation } from './instrumentation/meter.ts';
import { checkIndexes, neededIndexes } from './mongodb/check-indexes.ts';
import { conversationsOpen } from './mongodb/conversation-model.ts';
import type { MessageDoc } from './mongodb/models.ts';
import { MongoStopStore } from './mongodb/stop-store.ts';
import { answered } from './ports/answered.ts';
import { metered } from './ports/metered.ts';
import type { Upstream } from './ports/upstream.ts';
import { checkEviction, closeRedis, openRedis } from './redis/connection.ts';
import { OrphanStreams } from './redis/orphan-streams.ts';
import { PolicyAgreement } from './redis/policy-agreement.ts';
import { Sweeper } from './redis/sweeper.ts';
import type { TurnDeps } from './run/deps.ts';
import type { Shared } from './shared.ts';
import { retryStops } from './stop/open-stops.ts';
import { MissingJobs } from './sweeper/missing-jobs.ts';
import { discardOrphanFiles } from './sweeper/orphan-files.ts';
import { discardOrphans } from './sweeper/orphan-sessions.ts';
import { atMostEvery } from './timing/at-most-every.ts';
import { PolicyTable } from './worker/policy-table.ts';
import type { WorkOptions } from './worker/running-worker.ts';

/**
 * Starts to take jobs: everything that a process needs besides what `connect` has opened. What was opened when something
 * fails is `opened`'s to close.
 */
export async function startWorker(
  shared: Shared,
  workOptions: WorkOptions<never>,
  opened: Closers,
): Promise<{ worker: TurnWorker; closers: Closers }> {
  const { settings, redis, prefix, store, queue, stream, jobs, files, conversations, reporter, clock } =
    shared;
  const used = workSettings(workOptions);
  const policies = new PolicyTable(used.policies);
  await conversationsOpen(conversations, settings.connectTimeoutMs);
  await answered('mongodb', settings.connectTimeoutMs, () => indexesThere(shared));
  const connection = await openRedis(settings.redis, 'worker', reporter, settings.connectTimeoutMs);
  opened.add('Redis (worker)', () => closeRedis(connection, 'worker', reporter));
  await answered('redis', settings.connectTimeoutMs, () => checkEviction(redis, reporter));
  const { everyMs, minAgeMs } = used.sweeper;
  const servers = upstreams(shared, opened);
  const deps = turnDeps(shared, servers);
  const orphanStreams = new OrphanStreams({ redis, prefix, store, stream, reporter });
  const missingJobs = new MissingJobs({ store, queue, of: 'pending', jobs, clock, reporter, minAgeMs });
  const unannounced = new MissingJobs({ store, queue, of: 'unannounced', jobs, clock, reporter, minAgeMs });
  const chores = {
    'missing-jobs': () => missingJobs.sweep(),
    'unannounced-ends': () => unannounced.sweep(),
    'orphan-streams': () => orphanStreams.step(),
    'orphan-files': () => discardOrphanFiles({ files, store, clock, reporter }),
    'open-stops': () => retryStops(deps),
    'orphan-sessions': () => discardOrphans({ ...deps, servers, minAgeMs }),
  };
  const sweeper = new Sweeper({ redis, prefix, owner: deps.owner, reporter, everyMs, chores });
  opened.add('sweeper', () => sweeper.close());
  // A job's lock is renewed at half time: nobody else can have taken it within the first third.
  const { concurrency, lockMs, stalledCheckMs, unknownPolicyMs } = used;
  const policy = (name: string) => policies.of(name);
  const worker = new TurnWorker(
    { ...deps, jobs, policy, unknownPolicyMs, fenceFreshMs: lockMs / 3 },
    { connection, prefix, concurrency, lockMs, stalledCheckMs },
  );
  opened.add('worker', () => worker.close());
  const notWaiting = shared.meter.observe(
    'opencode_turns.waiting',
    atMostEvery(waitingMs, waitingJobs(jobs)),
  );
  opened.add('gauge of waiting turns', async () => notWaiting());
  const agreement = new PolicyAgreement({
    redis,
    prefix,
    owner: deps.owner,
    reporter,
    policies: used.policies,
  });
  opened.add('policy agreement', () => agreement.close());
  await answered('redis', settings.connectTimeoutMs, () =>
    Promise.all([sweeper.start(), worker.ready(), agreement.start()]),
  );
  return { worker, closers: opened };
}

async function indexesThere({ models, conversations, files }: Shared): Promise<void> {
  await checkIndexes(models.Message.collection, neededIndexes(models.Message as unknown as Model<never>));
  await checkIndexes(conversations.collection, neededIndexes(conversations, 'opencodeSessionId'));
  await files.checkIndexes();
}

/** Redis is asked for the number of jobs this often at most, whoever collects the gauge and how often. */
const waitingMs = 5_000;

/** Redis that is away is counted where it was asked; there is no number then. */
const waitingJobs =
  (jobs: BullTurnJobs) => async (): Promise<readonly Observation<'opencode_turns.waiting'>[]> => {
    const counts = await jobs.counts().catch(() => undefined);
    if (!counts) return [];
    const queue = { 'messaging.destination.name': jobs.queue.qualifiedName };
    return [
      { value: counts.ready, attributes: { 'job.state': 'ready', ...queue } },
      { value: counts.delayed, attributes: { 'job.state': 'delayed', ...queue } },
    ];
  };

function turnDeps(shared: Shared, servers: readonly Upstream[]): Omit<TurnDeps, 'fenceFreshMs'> {
  const { prefix, store, files, models, tracer, meter, levels, reporter, clock } = shared;
  return {
    store,
    ...sessionDeps(shared),
    stops: metered(new MongoStopStore(models.Message as unknown as Model<MessageDoc>), meter),
    files,
    publisher: shared.stream,
    notifier: shared.control,
    upstream: (server) => serverNamed(servers, server),
    tracer,
    meter,
    levels,
    reporter,
    clock,
    prefix,
    owner: `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`,
  };
}
