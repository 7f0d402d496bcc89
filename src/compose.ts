import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import path from 'node:path';
import type { Model } from 'mongoose';
import { makeDirectory } from './artifacts/make-directory.ts';
import { Sweeper } from './bullmq/schedules.ts';
import { defaultPrefix } from './bullmq/turn-job.ts';
import { BullTurnJobs } from './bullmq/turn-jobs.ts';
import { defaultLockMs, TurnWorker } from './bullmq/turn-worker.ts';
import { type Closers, orClose } from './closers.ts';
import { checkConnectOptions, checkWorkOptions } from './config/check-options.ts';
import type { TurnsOptions } from './config/options.ts';
import { InvalidConfigError } from './errors.ts';
import { calmReporter } from './instrumentation/calm-reporter.ts';
import { consoleReporter, type ErrorReporter, safeReporter } from './instrumentation/error-reporter.ts';
import { safeTracer } from './instrumentation/safe-tracer.ts';
import type { Tracer } from './instrumentation/tracer.ts';
import { checkIndexes, neededIndexes } from './mongodb/check-indexes.ts';
import { collectionNames } from './mongodb/collection-names.ts';
import { connectMongo, plainConnection } from './mongodb/connection.ts';
import { GridFsFileStore } from './mongodb/file-store.ts';
import { refuseFormerNames } from './mongodb/former-names.ts';
import { ensureIndexes, type MessageDoc, turnModels } from './mongodb/models.ts';
import { MongoSessionStore } from './mongodb/session-store.ts';
import { MongoStopStore } from './mongodb/stop-store.ts';
import { MongoTurnStore } from './mongodb/turn-store.ts';
import { serverAddress } from './opencode/address.ts';
import { openCodeClient } from './opencode/client.ts';
import { EventHub } from './opencode/event-hub.ts';
import { openCodeIds } from './opencode/ids.ts';
import { serverProbe } from './opencode/probe.ts';
import { openTransport } from './opencode/transport.ts';
import { otelTracer } from './otel/tracer.ts';
import type { Upstream } from './ports/upstream.ts';
import { checkEviction, openRedis } from './redis/connection.ts';
import { RecordLock } from './redis/lock.ts';
import { controlNotifier, streamNotifier } from './redis/notifier.ts';
import { StrayStreams } from './redis/orphan-streams.ts';
import { PolicyAgreement } from './redis/policy-agreement.ts';
import { Subscriber } from './redis/subscriber.ts';
import { TurnStream } from './redis/turn-stream.ts';
import type { TurnDeps } from './run/deps.ts';
import { retryStops } from './stop/open-stops.ts';
import { JoblessTurns } from './sweeper/missing-jobs.ts';
import { discardStrayUploads } from './sweeper/orphan-files.ts';
import { discardOrphans } from './sweeper/orphan-sessions.ts';
import { systemClock } from './timing/clock.ts';
import { Turns } from './turns.ts';
import { PolicyTable } from './worker/policy-table.ts';
import type { WorkOptions } from './worker/running-worker.ts';

/**
 * Opens Redis, MongoDB and the clients of the OpenCode servers, and answers the one object that web apps and
 * workers use. Throws InvalidConfigError and ServiceUnavailableError within `connectTimeoutMs` per service; what
 * was opened until then is closed. OpenCode is not asked: web apps need not reach it.
 */
export async function connect(options: TurnsOptions): Promise<Turns> {
  checkConnectOptions(options);
  return orClose((closers) => compose(options, closers));
}

async function compose(options: TurnsOptions, closers: Closers): Promise<Turns> {
  const { prefix = defaultPrefix, connectTimeoutMs = 5_000 } = options;
  const reporter = calmReporter(safeReporter(options.reporter ?? consoleReporter));
  const tracer = safeTracer(options.tracer ?? otelTracer(), reporter);
  const servers = upstreams(options, tracer, reporter, closers);
  const clock = systemClock;
  const names = collectionNames(options.collectionPrefix);

  const mongo = await connectMongo(options.mongo, { timeoutMs: connectTimeoutMs });
  closers.add('MongoDB', () => mongo.close());
  const redis = await openRedis(options.redis, 'commands', reporter, connectTimeoutMs);
  closers.add('Redis', () => quit(redis));
  const subscribed = await openRedis(options.redis, 'subscriber', reporter, connectTimeoutMs);
  closers.add('Redis subscriber', () => quit(subscribed));

  const models = turnModels(mongo, names);
  const records = options.record ?? (models.Conversation as unknown as Model<never>);
  const store = new MongoTurnStore(models.Message as unknown as Model<MessageDoc>, records);
  const files = new GridFsFileStore(mongo, { bucketName: names.files });
  const subscriber = new Subscriber(subscribed, reporter);
  const control = controlNotifier({ subscriber, redis, prefix });
  const stream = new TurnStream({ redis, prefix });
  const jobs = new BullTurnJobs(redis, prefix, reporter);
  closers.add('queue', () => jobs.close());
  const notifier = streamNotifier(subscriber, prefix);
  const client = { store, files, jobs, stream, notifier, control, tracer, reporter };

  const deps: Omit<TurnDeps, 'fenceFreshMs'> = {
    store,
    sessions: new MongoSessionStore(records),
    stops: new MongoStopStore(models.Message as unknown as Model<MessageDoc>),
    lock: new RecordLock({
      redis,
      prefix,
      reporter,
      ...(options.lockLeaseMs ? { leaseMs: options.lockLeaseMs } : {}),
    }),
    files,
    publisher: stream,
    notifier: control,
    upstream: (server) => serverNamed(servers, server),
    ids: openCodeIds(clock),
    tracer,
    reporter,
    clock,
    prefix,
    owner: `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`,
    sandboxRoot: options.sandboxRoot ?? path.resolve('sandboxes'),
    prepareDirectory: async (directory) => {
      await makeDirectory(directory).catch((error) => {
        reporter.report(error, { action: 'sandbox.prepare', severity: 'warning' });
      });
    },
  };

  const startWork = async (workOptions: WorkOptions, opened: Closers) => {
    checkWorkOptions(workOptions);
    const policies = new PolicyTable(workOptions.policies, workOptions);
    await checkIndexes(models.Message.collection, neededIndexes(models.Message as unknown as Model<never>));
    await checkIndexes(records.collection, neededIndexes(records, 'opencodeSessionId'));
    await files.checkIndexes();
    const connection = await openRedis(options.redis, 'worker', reporter, connectTimeoutMs);
    opened.add('Redis worker connection', () => quit(connection));
    await checkEviction(redis, reporter);
    const { everyMs = 15_000, minAgeMs = 10_000 } = workOptions.sweeper ?? {};
    const clients = servers.map(({ client }) => client);
    const strays = new StrayStreams({ redis, prefix, store, stream, reporter });
    const jobless = new JoblessTurns({ store, jobs, clock, reporter, minAgeMs });
    const chores = {
      'jobless-turns': { everyMs, run: () => jobless.sweep() },
      'stray-streams': { everyMs, run: () => strays.step() },
      'stray-uploads': { everyMs, run: () => discardStrayUploads({ files, store, clock, reporter }) },
      'open-stops': { everyMs, run: () => retryStops(deps) },
      'orphan-sessions': { everyMs, run: () => discardOrphans({ ...deps, clients, minAgeMs }) },
    };
    const sweeper = new Sweeper({ commands: redis, connection, prefix, reporter, chores });
    opened.add('sweeper', () => sweeper.close());
    // A job's lock is renewed at half time: nobody else can have taken it within the first third.
    const { lockMs = defaultLockMs } = workOptions;
    const policy = (name: string, turnId: string) => policies.of(name, turnId);
    const worker = new TurnWorker(
      { ...deps, fenceFreshMs: lockMs / 3 },
      { connection, prefix, jobs, policy, ...workOptions, lockMs },
    );
    opened.add('worker', () => worker.close());
    const { policies: registered } = workOptions;
    const agreement = new PolicyAgreement({
      redis,
      prefix,
      owner: deps.owner,
      reporter,
      policies: registered,
    });
    opened.add('policy agreement', () => agreement.close());
    await Promise.all([sweeper.start(), worker.ready(), agreement.start()]);
    return { worker, closers: opened };
  };
  const work = (workOptions: WorkOptions) => orClose((opened) => startWork(workOptions, opened));
  const indexes = async () => {
    await refuseFormerNames(mongo.db, names);
    await ensureIndexes([models.Message as unknown as Model<never>, records]);
    await files.ensureIndexes();
  };
  return new Turns({
    client,
    // What a host asks of our models is the host's, as are the names of its own models.
    models: turnModels(plainConnection(mongo), names),
    connection: plainConnection(mongo),
    files,
    work,
    indexes,
    closers,
  });
}

function upstreams(
  options: TurnsOptions,
  tracer: Tracer,
  reporter: ErrorReporter,
  closers: Closers,
): readonly Upstream[] {
  const configured = 'url' in options.opencode ? [options.opencode] : options.opencode;
  return configured.map(({ url, username, password }) => {
    const address = serverAddress(url, username, password);
    const transport = openTransport();
    const probe = serverProbe({ address, reporter, transport });
    const feed = new EventHub({ address, reporter, probe });
    closers.add(`events of ${address.server}`, () => feed.close());
    return { client: openCodeClient({ address, tracer, probe, transport }), feed };
  });
}

function serverNamed(servers: readonly Upstream[], name: string | undefined): Upstream {
  const found = name === undefined ? servers[0] : servers.find(({ client }) => client.server === name);
  if (found) return found;
  const known = servers.map(({ client }) => client.server).join(', ');
  throw new InvalidConfigError(
    'opencode',
    `a session lives on ${name}, which is not configured here (known: ${known})`,
  );
}

async function quit(redis: { status: string; quit(): Promise<unknown>; disconnect(): void }): Promise<void> {
  // A connection that is down cannot say goodbye, and would wait for the next one to say it.
  if (redis.status !== 'ready') redis.disconnect();
  else await redis.quit();
}
