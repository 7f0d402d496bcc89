import type { Redis } from 'ioredis';
import type { Model } from 'mongoose';
import type { BullTurnJobs } from './bullmq/turn-jobs.ts';
import type { ConnectSettings } from './config/connect-settings.ts';
import type { ErrorReporter } from './instrumentation/error-reporter.ts';
import type { Levels } from './instrumentation/level.ts';
import type { Meter } from './instrumentation/meter.ts';
import type { Tracer } from './instrumentation/tracer.ts';
import type { GridFsFileStore } from './mongodb/file-store.ts';
import type { TurnModels } from './mongodb/models.ts';
import type { MongoTurnQueue } from './mongodb/turn-queue.ts';
import type { MongoTurnStore } from './mongodb/turn-store.ts';
import type { ServerAddress } from './opencode/address.ts';
import type { ControlNotifier } from './ports/notifier.ts';
import type { TurnStream } from './redis/turn-stream.ts';
import type { Clock } from './timing/clock.ts';

/** What `connect` has opened, and a worker needs too. */
export interface Shared {
  readonly settings: ConnectSettings;
  /** The connection of the role `commands`. */
  readonly redis: Redis;
  readonly prefix: string;
  readonly servers: readonly ServerAddress[];
  readonly models: TurnModels;
  readonly conversations: Model<never>;
  readonly store: MongoTurnStore;
  readonly queue: MongoTurnQueue;
  readonly files: GridFsFileStore;
  readonly jobs: BullTurnJobs;
  readonly stream: TurnStream;
  readonly control: ControlNotifier;
  readonly tracer: Tracer;
  readonly meter: Meter;
  readonly levels: Levels;
  readonly reporter: ErrorReporter;
  readonly clock: Clock;
}
