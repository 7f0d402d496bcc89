import type { Model } from 'mongoose';
import { BullTurnJobs } from './bullmq/turn-jobs.ts';
import { type Closers, orClose } from './closers.ts';
import { type ConnectSettings, connectSettings } from './config/connect-settings.ts';
import type { TurnsOptions } from './config/options.ts';
import { calmReporter } from './instrumentation/calm-reporter.ts';
import { type ErrorReporter, loggingReporter, safeReporter } from './instrumentation/error-reporter.ts';
import { Levels, observeLevels } from './instrumentation/level.ts';
import { consoleLogger } from './instrumentation/logger.ts';
import { type Meter, noopMeter } from './instrumentation/meter.ts';
import { safeLogger } from './instrumentation/safe-logger.ts';
import { safeMeter } from './instrumentation/safe-meter.ts';
import { safeTracer } from './instrumentation/safe-tracer.ts';
import type { Tracer } from './instrumentation/tracer.ts';
import { noopTracer } from './instrumentation/tracer.ts';
import { collectionNames } from './mongodb/collection-names.ts';
import { closeMongo, connectMongo, plainConnection } from './mongodb/connection.ts';
import { checkConversationModel, conversationsOpen } from './mongodb/conversation-model.ts';
import { GridFsFileStore } from './mongodb/file-store.ts';
import { refuseFormerNames } from './mongodb/former-names.ts';
import { ensureIndexes, type MessageDoc, turnModels } from './mongodb/models.ts';
import { MongoTurnLists } from './mongodb/turn-lists.ts';
import { MongoTurnQueue } from './mongodb/turn-queue.ts';
import { MongoTurnStore } from './mongodb/turn-store.ts';
import { type ServerAddress, serverAddress } from './opencode/address.ts';
import { metered } from './ports/metered.ts';
import { closeRedis, openRedis } from './redis/connection.ts';
import { controlNotifier, streamNotifier } from './redis/notifier.ts';
import { Subscriber } from './redis/subscriber.ts';
import { TurnStream } from './redis/turn-stream.ts';
import { type SessionDeps, SessionHandle, type SessionOptions } from './session/handle.ts';
import type { Shared } from './shared.ts';
import { systemClock } from './timing/clock.ts';
import { Turns } from './turns.ts';
import type { WorkOptions } from './worker/running-worker.ts';

/** See `connect`. */
export async function compose<R>(options: TurnsOptions<R>): Promise<Turns<R>> {
  const settings = connectSettings(options);
  return orClose((closers) => open<R>(settings, closers));
}

async function open<R>(settings: ConnectSettings, closers: Closers): Promise<Turns<R>> {
  const { prefix, connectTimeoutMs } = settings;
  const idType =
    settings.conversations === null ? 'ObjectId' : checkConversationModel(settings.conversations);
  const reporter = reporterOf(settings);
  const tracer = safeTracer(settings.tracer ?? (await defaultTracer()), reporter);
  const meter = safeMeter(settings.meter ?? (await defaultMeter()), reporter);
  const levels = new Levels();
  const servers = addresses(settings);
  const clock = systemClock;
  const names = collectionNames(settings.collectionPrefix);

  const mongo = await connectMongo(settings.mongo, { timeoutMs: connectTimeoutMs });
  closers.add('MongoDB', () => closeMongo(mongo, reporter));
  const opens = async (role: 'commands' | 'subscriber') => {
    const opened = await openRedis(settings.redis, role, reporter, connectTimeoutMs);
    closers.add(`Redis (${role})`, () => closeRedis(opened, role, reporter));
    return opened;
  };
  // Both at once, so that the service has one time to connect; both settled, so that none opens behind a failure.
  const [redis, subscribed] = await bothOf(opens('commands'), opens('subscriber'));

  const models = turnModels(mongo, names, idType);
  const conversations = (settings.conversations ?? models.Conversation) as unknown as Model<never>;
  const messages = models.Message as unknown as Model<MessageDoc>;
  const store = metered(new MongoTurnStore(messages, conversations), meter);
  const lists = metered(new MongoTurnLists(messages, conversations), meter);
  const queue = metered(new MongoTurnQueue(messages, conversations), meter);
  const files = metered(new GridFsFileStore(mongo, { bucketName: names.files }), meter);
  const subscriber = new Subscriber(subscribed, reporter);
  const control = controlNotifier({ subscriber, redis, prefix });
  const stream = metered(new TurnStream({ redis, prefix }), meter);
  const jobs = metered(new BullTurnJobs(redis, prefix, reporter), meter);
  closers.add('queue', () => jobs.close());
  const notifier = streamNotifier(subscriber, prefix);
  const client = {
    idType,
    store,
    lists,
    queue,
    files,
    jobs,
    stream,
    notifier,
    control,
    tracer,
    meter,
    levels,
    reporter,
  };
  const unobserve = observeLevels(meter, levels);
  closers.add('gauges', async () => unobserve());

  const shared: Shared = {
    settings,
    redis,
    prefix,
    servers,
    models,
    conversations: conversations,
    store,
    queue,
    files,
    jobs,
    stream,
    control,
    tracer,
    meter,
    levels,
    reporter,
    clock,
  };
  const work = async (workOptions: WorkOptions<never>) => {
    // A web app that runs no turns loads none of it.
    const { startWorker } = await import('./compose-worker.ts');
    return orClose((opened) => startWorker(shared, workOptions, opened));
  };
  let opened: Promise<SessionDeps> | undefined;
  // One connection to each server, whatever number of handles; a web app that asks for none has none.
  const sessionDeps = () => {
    opened ??= import('./compose-servers.ts').then(({ handleDeps }) => handleDeps(shared, closers));
    return opened;
  };
  const session = (conversationId: string, sessionOptions: SessionOptions) =>
    new SessionHandle(sessionDeps, conversationId, sessionOptions);
  const indexes = async () => {
    await conversationsOpen(conversations, connectTimeoutMs);
    await refuseFormerNames(mongo.db, names);
    await ensureIndexes([models.Message as unknown as Model<never>, conversations]);
    await files.ensureIndexes();
  };
  return new Turns({
    client,
    // What a host asks of our models is the host's, as are the names of its own models.
    models: turnModels(plainConnection(mongo), names, idType),
    connection: plainConnection(mongo),
    files,
    work,
    session,
    indexes,
    closers,
  });
}

async function bothOf<A, B>(first: Promise<A>, second: Promise<B>): Promise<readonly [A, B]> {
  await Promise.allSettled([first, second]);
  return Promise.all([first, second]);
}

function addresses({ opencode }: ConnectSettings): readonly ServerAddress[] {
  return opencode.map(({ url, username, password }) => serverAddress(url, username, password));
}

/** A host's reporter gets what is reported, its logger the rest; without a reporter the logger gets all. */
function reporterOf({ reporter, logger }: ConnectSettings): ErrorReporter {
  const lines = loggingReporter(safeLogger(logger ?? consoleLogger));
  if (!reporter) return calmReporter(safeReporter(lines));
  const safe = safeReporter(reporter, calmReporter(lines));
  return calmReporter(logger && !reporter.note ? { ...lines, report: safe.report } : safe);
}

const defaultTracer = (): Promise<Tracer> =>
  whereInstalled(async () => (await import('./otel/tracer.ts')).otelTracer(), noopTracer);
const defaultMeter = (): Promise<Meter> =>
  whereInstalled(async () => (await import('./otel/meter.ts')).otelMeter(), noopMeter);

/** OpenTelemetry's API where the host has it: it is an optional peer. */
async function whereInstalled<T>(load: () => Promise<T>, otherwise: T): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if (/MODULE_NOT_FOUND/.test(String((error as { code?: unknown })?.code))) return otherwise;
    throw error;
  }
}
