import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ModelRequest, Step } from '../../dev/scripted-model/script.ts';
import { type ScriptedModel, startScriptedModel } from '../../dev/scripted-model/server.ts';
import { startMongo } from '../../dev/services/mongo.ts';
import { type OpenCodeService, startOpenCode } from '../../dev/services/opencode.ts';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import {
  connect,
  type ReadyConversation,
  type ReportContext,
  type TurnPolicy,
  type Turns,
  type TurnsOptions,
} from '../../src/index.ts';
import { withDatabase } from './database.ts';

export type Respond = (request: ModelRequest) => Step | undefined;

export interface TestSystem {
  readonly redis: Service;
  readonly mongo: Service;
  readonly opencode: OpenCodeService;
  readonly model: ScriptedModel;
  readonly sandboxRoot: string;
  /** A policy whose conversations share one directory: upstream starts each directory anew, which takes seconds. */
  readonly policy: TurnPolicy & { readonly directory: () => string };
  /** The same for a worker process. */
  readonly env: NodeJS.ProcessEnv;
  readonly options: TurnsOptions & { readonly redis: string };
  /** What was reported instead of thrown. */
  readonly reports: { error: unknown; context: ReportContext }[];
  /** Decides what the model says from now on. */
  respond(respond: Respond): void;
  connect<R = ReadyConversation>(options?: Partial<TurnsOptions<R>>): Promise<Turns<R>>;
  /** The address of one more database of this file. */
  database(name: string): string;
  stop(): Promise<void>;
}

/** The real services of one test file, each with its own port and directory, and a key prefix of their own. */
export async function startSystem(): Promise<TestSystem> {
  let current: Respond = () => undefined;
  const model = await startScriptedModel((request) => current(request));
  const quiet = () => undefined;
  const [redis, mongo, opencode] = await Promise.all([
    startRedis(quiet),
    startMongo(),
    startOpenCode({ modelUrl: model.url, progress: quiet }),
  ]);
  const sandboxRoot = mkdtempSync(path.join(tmpdir(), 'opencode-turns-sandbox-'));
  const directory = path.join(sandboxRoot, 'shared');
  const reports: TestSystem['reports'] = [];
  const connected: Pick<Turns, 'close' | 'connection'>[] = [];
  const suffix = path.basename(sandboxRoot).slice(-6);
  const options: TestSystem['options'] = {
    redis: redis.url,
    mongo: withDatabase(mongo.url, `test_${suffix}`),
    opencode: { url: opencode.url, ...(opencode.password ? { password: opencode.password } : {}) },
    prefix: `test-${suffix}`,
    sandboxRoot,
    reporter: { report: (error, context) => reports.push({ error, context }) },
  };
  return {
    redis,
    mongo,
    opencode,
    model,
    sandboxRoot,
    policy: { model: 'scripted/scripted', directory: () => directory },
    env: { OPENCODE_TURNS_POLICIES: 'test/support/one-directory.mjs', TEST_DIRECTORY: directory },
    options,
    reports,
    respond: (respond) => {
      current = respond;
    },
    connect: async <R = ReadyConversation>(more: Partial<TurnsOptions<R>> = {}) => {
      const turns = await connect<R>({ ...(options as Omit<TurnsOptions, 'conversations'>), ...more });
      await turns.createIndexes();
      connected.push(turns);
      return turns;
    },
    database: (name) => withDatabase(mongo.url, `test_${suffix}_${name}`),
    stop: async () => {
      // The embedded one ends with its process; a server that MONGODB_URL names would keep them.
      if (process.env.MONGODB_URL)
        await Promise.allSettled(connected.map(async (turns) => turns.connection.dropDatabase()));
      await Promise.allSettled(connected.map((turns) => turns.close()));
      await Promise.all([redis.stop(), mongo.stop(), opencode.stop(), model.stop()]);
      rmSync(sandboxRoot, { recursive: true, force: true });
    },
  };
}
