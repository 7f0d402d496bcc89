import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makeDirectory } from '../artifacts/make-directory.ts';
import type { ClientDeps } from '../client/deps.ts';
import { Closers } from '../closers.ts';
import { workSettings } from '../config/work-settings.ts';
import { IllegalStateError, InvalidConfigError } from '../errors.ts';
import { type ErrorReporter, type ReportContext, safeReporter } from '../instrumentation/error-reporter.ts';
import { Levels, observeLevels } from '../instrumentation/level.ts';
import { type Meter, noopMeter } from '../instrumentation/meter.ts';
import { safeMeter } from '../instrumentation/safe-meter.ts';
import { safeTracer } from '../instrumentation/safe-tracer.ts';
import { noopTracer, type Tracer } from '../instrumentation/tracer.ts';
import type { TurnDeps } from '../run/deps.ts';
import { SessionHandle } from '../session/handle.ts';
import { type Clock, systemClock } from '../timing/clock.ts';
import type { ReadyConversation } from '../turn/conversation.ts';
import {
  type ConversationIdType,
  conversationIdOf,
  conversationIdTypes,
  isIdType,
} from '../turn/conversation-id.ts';
import type { Policies } from '../turn/policy.ts';
import { Turns } from '../turns.ts';
import { PolicyTable } from '../worker/policy-table.ts';
import type { WorkOptions } from '../worker/running-worker.ts';
import type { ScriptedUpstream } from './agent.ts';
import { withoutShortWaits } from './manual-clock.ts';
import { MemoryConversations } from './memory-conversations.ts';
import { MemoryFileStore } from './memory-file-store.ts';
import { memoryConversationIds } from './memory-ids.ts';
import { MemoryJobs } from './memory-jobs.ts';
import { MemoryLock } from './memory-lock.ts';
import { MemoryNotifier } from './memory-notifier.ts';
import { MemoryStopStore } from './memory-stop-store.ts';
import { MemoryStream } from './memory-stream.ts';
import { MemoryTurnLists } from './memory-turn-lists.ts';
import { MemoryTurnQueue } from './memory-turn-queue.ts';
import { MemoryTurnStore } from './memory-turn-store.ts';
import { MemoryTurns } from './memory-turns.ts';
import { MemoryWorker } from './memory-worker.ts';
import { scriptedServerName } from './scripted-client.ts';
import { ScriptedServer } from './scripted-server.ts';

export interface TestTurnsOptions<R = ReadyConversation> {
  /** What the agent does. */
  readonly upstream: ScriptedUpstream;
  /** With them a worker runs from the beginning; without, nothing is taken until `turns.work`. */
  readonly policies?: Policies<R>;
  /** What the `_id` of your conversations is, as your model's schema has it. Default `ObjectId`. */
  readonly conversationIds?: ConversationIdType;
  /** Default: the system's. With `manualClock` nothing that waits longer than 100 ms goes on until the test moves it. */
  readonly clock?: Clock;
  readonly tracer?: Tracer;
  /** Is told all but what services tell: `opencode_turns.waiting`, `unavailable` and `upstream.errors`. */
  readonly meter?: Meter;
  /** Default: what is reported is collected in `reports`. */
  readonly reporter?: ErrorReporter;
}

export interface TestTurns<R = ReadyConversation> {
  /** What `connect` would return; `models` and `connection` throw IllegalStateError, as there is no database. */
  readonly turns: Turns<R>;
  /** What was reported instead of thrown, with the default reporter. */
  readonly reports: readonly { readonly error: unknown; readonly context: ReportContext }[];
  /** A conversation that turns can be enqueued on; returns its id, which is that of the document where it has one (`_id`). */
  conversation(document?: Readonly<Record<string, unknown>>): string;
  /** Deletes one, as a host may at any time. */
  deleteConversation(conversation: unknown): void;
  /** Resolves when no turn waits for a worker or runs, hooks included. One that is delayed by a failure counts as neither. */
  settled(): Promise<void>;
  /** Stops the workers, without a grace for what runs, and removes the agents' directories. */
  close(): Promise<void>;
  /** `await using`: the same as `close`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Turns without any server: the same client, worker and followers as in production, over stores, stream, lock and jobs in
 * memory and an OpenCode server that plays a script. Throws InvalidConfigError for a policy that makes no sense.
 */
export async function testTurns<R = ReadyConversation>(options: TestTurnsOptions<R>): Promise<TestTurns<R>> {
  const { policies } = options;
  const clock = options.clock ? withoutShortWaits(options.clock) : systemClock;
  const reports: { error: unknown; context: ReportContext }[] = [];
  const collecting: ErrorReporter = { report: (error, context) => void reports.push({ error, context }) };
  const reporter = safeReporter(options.reporter ?? collecting);
  const tracer = safeTracer(options.tracer ?? noopTracer, reporter);
  const idType = idTypeOf(options.conversationIds);
  const conversations = new MemoryConversations(idType);
  const closers = new Closers();
  const sandboxRoot = mkdtempSync(path.join(tmpdir(), 'opencode-turns-testing-'));
  closers.add('directories', async () => rmSync(sandboxRoot, { recursive: true, force: true }));
  const memory = inMemory(clock, conversations);
  const meter = safeMeter(options.meter ?? noopMeter, reporter);
  const levels = new Levels();
  const unobserve = observeLevels(meter, levels);
  closers.add('gauges', async () => unobserve());
  const told = { idType, tracer, meter, levels };
  const client = { ...memory.client, ...told, reporter };
  const run = { ...memory.run, ...runDeps(options, { clock, reporter, sandboxRoot }), ...told };
  let closing = false;
  const turns = turnsOver<R>({ client, run, closers, hurried: () => closing });
  const newId = memoryConversationIds(idType, clock);
  const close = async () => {
    closing = true;
    await turns.close();
  };
  if (policies) await turns.work({ policies });
  return {
    turns,
    reports,
    conversation: (document = {}) => {
      const id = document._id === undefined ? newId() : conversationIdOf(document, idType);
      conversations.add(id, { _id: id, title: '', createdAt: new Date(clock.now()), ...document });
      return id;
    },
    deleteConversation: (conversation) => conversations.remove(conversationIdOf(conversation, idType)),
    settled: () => client.jobs.settled(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function idTypeOf(idType: ConversationIdType = 'ObjectId'): ConversationIdType {
  if (isIdType(idType)) return idType;
  throw new InvalidConfigError('conversationIds', `must be one of ${conversationIdTypes}`);
}

function inMemory(clock: Clock, conversations: MemoryConversations) {
  const all = new MemoryTurns();
  const store = new MemoryTurnStore({ turns: all, conversations, clock });
  const queue = new MemoryTurnQueue(all, conversations, clock);
  const files = new MemoryFileStore(clock);
  const notifier = new MemoryNotifier();
  const control = new MemoryNotifier();
  const stream = new MemoryStream({ clock, notifier });
  const jobs = new MemoryJobs(clock);
  const stops = new MemoryStopStore(all, clock);
  return {
    client: {
      store,
      lists: new MemoryTurnLists(all, conversations),
      queue,
      files,
      jobs,
      stream,
      notifier,
      control,
    },
    run: {
      store,
      files,
      sessions: conversations,
      stops,
      lock: new MemoryLock(clock),
      publisher: stream,
      notifier: control,
    },
  };
}

type RunDeps = Omit<TurnDeps, 'owner'>;

function runDeps(
  { upstream }: Pick<TestTurnsOptions, 'upstream'>,
  { clock, reporter, sandboxRoot }: Pick<RunDeps, 'clock' | 'reporter' | 'sandboxRoot'>,
) {
  if (!(upstream instanceof ScriptedServer))
    throw new InvalidConfigError('upstream', 'must be what scriptedUpstream returns');
  const scripted = upstream.upstream(clock);
  return {
    upstream: (server = scriptedServerName) => {
      if (server === scriptedServerName) return scripted;
      throw new InvalidConfigError('opencode', `a session lives on ${server}, which is not configured here`);
    },
    clock,
    reporter,
    prefix: 'testing',
    sandboxRoot,
    prepareDirectory: (directory: string) => makeDirectory(directory).catch(() => undefined),
    fenceFreshMs: 5_000,
  };
}

interface Parts {
  readonly client: ClientDeps & { readonly jobs: MemoryJobs };
  readonly run: RunDeps;
  readonly closers: Closers;
  readonly hurried: () => boolean;
}

function turnsOver<R>({ client, run, closers, hurried }: Parts): Turns<R> {
  let workers = 0;
  const work = async (options: WorkOptions<never>) => {
    const { unknownPolicyMs, concurrency, ...settings } = workSettings(options);
    const policies = new PolicyTable(settings.policies);
    workers += 1;
    const owner = `testing:${workers}`;
    const policy = (name: string) => policies.of(name);
    const worker = new MemoryWorker(
      { ...run, owner, jobs: client.jobs, policy, unknownPolicyMs },
      client.jobs,
      hurried,
      concurrency,
    );
    return { worker, closers: new Closers() };
  };
  return new Turns<R>({
    client,
    files: client.files,
    work,
    session: (conversationId, options) =>
      new SessionHandle(async () => ({ ...run, store: run.sessions }), conversationId, options),
    indexes: async () => undefined,
    closers,
    get models(): never {
      throw new IllegalStateError('models', 'turns are in memory');
    },
    get connection(): never {
      throw new IllegalStateError('connection', 'turns are in memory');
    },
  });
}
