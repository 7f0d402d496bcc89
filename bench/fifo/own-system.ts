import path from 'node:path';
import type { Model } from 'mongoose';
import { BullTurnJobs } from '../../src/bullmq/turn-jobs.ts';
import { TurnWorker } from '../../src/bullmq/turn-worker.ts';
import { connect, type Turns } from '../../src/index.ts';
import { consoleReporter } from '../../src/instrumentation/error-reporter.ts';
import { Levels } from '../../src/instrumentation/level.ts';
import { noopMeter } from '../../src/instrumentation/meter.ts';
import { GridFsFileStore } from '../../src/mongodb/file-store.ts';
import type { MessageDoc } from '../../src/mongodb/models.ts';
import { MongoSessionStore } from '../../src/mongodb/session-store.ts';
import { MongoStopStore } from '../../src/mongodb/stop-store.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import { otelTracer } from '../../src/otel/tracer.ts';
import type { Upstream } from '../../src/ports/upstream.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { ConversationLock } from '../../src/redis/lock.ts';
import { controlNotifier } from '../../src/redis/notifier.ts';
import { Subscriber } from '../../src/redis/subscriber.ts';
import { TurnStream } from '../../src/redis/turn-stream.ts';
import type { TurnDeps } from '../../src/run/deps.ts';
import { systemClock } from '../../src/timing/clock.ts';
import { compilePolicy, type TurnPolicy } from '../../src/turn/policy.ts';

/** Errors, and no line for each turn: writing them is no cost of a turn. */
const reporter = { report: consoleReporter.report };

export interface OwnSystem {
  readonly turns: Turns;
  /** Starts the worker. */
  work(concurrency: number): Promise<void>;
  stop(): Promise<void>;
}

/** The product's own web side and worker in this process, put together as `compose.ts` does, on a given upstream. */
export async function startOwnSystem(options: {
  readonly redis: string;
  readonly mongo: string;
  readonly prefix: string;
  readonly upstream: Upstream;
  readonly policy: TurnPolicy;
}): Promise<OwnSystem> {
  const { prefix, upstream } = options;
  const { redis: url, mongo } = options;
  const turns = await connect({
    redis: url,
    mongo,
    prefix,
    opencode: { url: upstream.server },
    reporter,
  });
  await turns.createIndexes();
  const open = (role: 'commands' | 'subscriber' | 'worker') => openRedis(options.redis, role, reporter);
  const [redis, subscriber, connection] = await Promise.all([
    open('commands'),
    open('subscriber'),
    open('worker'),
  ]);
  const { Conversation, Message } = turns.models;
  const conversations = Conversation as unknown as Model<never>;
  const deps: TurnDeps = {
    store: new MongoTurnStore(Message as unknown as Model<MessageDoc>, conversations),
    sessions: new MongoSessionStore(conversations),
    stops: new MongoStopStore(Message as unknown as Model<MessageDoc>),
    lock: new ConversationLock({ redis, prefix, reporter }),
    files: new GridFsFileStore(turns.connection),
    publisher: new TurnStream({ redis, prefix }),
    notifier: controlNotifier({ subscriber: new Subscriber(subscriber, reporter), redis, prefix }),
    upstream: () => upstream,
    tracer: otelTracer(),
    meter: noopMeter,
    levels: new Levels(),
    reporter,
    clock: systemClock,
    prefix,
    owner: 'bench',
    sandboxRoot: path.resolve('/sandboxes'),
    prepareDirectory: async () => undefined,
    fenceFreshMs: 5_000,
  };
  const jobs = new BullTurnJobs(redis, prefix, reporter);
  const policy = compilePolicy('default', options.policy);
  let worker: TurnWorker | undefined;
  return {
    turns,
    work: async (concurrency) => {
      worker = new TurnWorker(
        { ...deps, jobs, policy: () => policy, unknownPolicyMs: 600_000 },
        { connection, prefix, concurrency, lockMs: 15_000, stalledCheckMs: 4_000 },
      );
      await worker.ready();
    },
    stop: async () => {
      await worker?.stop(1_000);
      await jobs.close();
      await turns.close();
      await Promise.all([redis, subscriber, connection].map((client) => client.quit()));
    },
  };
}
