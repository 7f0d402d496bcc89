import path from 'node:path';
import type { Model } from 'mongoose';
import { connect, type Turns } from '../../src/index.ts';
import { consoleReporter as reporter } from '../../src/instrumentation/error-reporter.ts';
import { openCodeIds } from '../../src/opencode/ids.ts';
import type { Upstream } from '../../src/ports/upstream.ts';
import { controlNotifier } from '../../src/queue/notifier.ts';
import { RecordLock } from '../../src/queue/record-lock.ts';
import { openRedis } from '../../src/queue/redis.ts';
import { Subscriber } from '../../src/queue/subscriber.ts';
import { BullTurnJobs } from '../../src/queue/turn-jobs.ts';
import { TurnStream } from '../../src/queue/turn-stream.ts';
import { TurnWorker } from '../../src/queue/turn-worker.ts';
import { GridFsFileStore } from '../../src/store/gridfs-file-store.ts';
import type { MessageDoc } from '../../src/store/models.ts';
import { MongoSessionStore } from '../../src/store/mongo-session-store.ts';
import { MongoStopStore } from '../../src/store/mongo-stop-store.ts';
import { MongoTurnStore } from '../../src/store/mongo-turn-store.ts';
import { otelTracer } from '../../src/telemetry/otel-tracer.ts';
import { systemClock } from '../../src/timing/clock.ts';
import type { TurnDeps } from '../../src/turn/turn-deps.ts';
import { compilePolicy, type TurnPolicy } from '../../src/turn/turn-policy.ts';

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
  const turns = await connect({ ...options, opencode: { url: upstream.client.server }, reporter });
  await turns.createIndexes();
  const open = (role: 'commands' | 'subscriber' | 'worker') => openRedis(options.redis, role, reporter);
  const [redis, subscriber, connection] = await Promise.all([
    open('commands'),
    open('subscriber'),
    open('worker'),
  ]);
  const { Conversation, Message } = turns.models;
  const records = Conversation as unknown as Model<never>;
  const deps: TurnDeps = {
    store: new MongoTurnStore(Message as unknown as Model<MessageDoc>, records),
    sessions: new MongoSessionStore(records),
    stops: new MongoStopStore(Message as unknown as Model<MessageDoc>),
    lock: new RecordLock({ redis, prefix, reporter }),
    files: new GridFsFileStore(turns.connection),
    publisher: new TurnStream({ redis, prefix }),
    notifier: controlNotifier({ subscriber: new Subscriber(subscriber, reporter), redis, prefix }),
    upstream: () => upstream,
    ids: openCodeIds(systemClock),
    tracer: otelTracer(),
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
      worker = new TurnWorker(deps, { connection, prefix, jobs, policy: () => policy, concurrency });
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
