import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { context, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { turnJobId } from '../../src/bullmq/turn-job.ts';
import { TurnFailedError } from '../../src/errors.ts';
import type { Turns } from '../../src/index.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy, whole } from '../support/upstream-proxy.ts';

const exporter = new InMemorySpanExporter();
const notes: { what: string; facts: Readonly<Record<string, unknown>> }[] = [];
const secret = 'the words of a user';
let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let queue: Queue;
/** Cuts the event stream that all turns share. */
let cut = (): void => undefined;

beforeAll(async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  proxy.spoil(system.policy.directory(), (wire) => {
    cut = () => wire.cut();
    return whole(wire);
  });
  const { password } = system.opencode;
  turns = await system.connect({
    opencode: { url: proxy.url, ...(password ? { password } : {}) },
    reporter: {
      report: (error, given) => system.reports.push({ error, context: given }),
      note: (what, facts) => notes.push({ what, facts }),
    },
  });
  // The sweeper looks at every turn, all the time: it would find a failed job that asks to be tried again.
  await turns.work({ policies: { default: system.policy }, sweeper: { everyMs: 300, minAgeMs: 0 } });
  queue = new Queue('turns', {
    connection: { url: system.redis.url },
    prefix: system.options.prefix ?? '',
  });
  system.respond(() => ({ text: ['warm'] }));
  await runTurn(turns, await newConversation(turns), 'warm');
}, 90_000);
afterAll(async () => {
  await queue.close();
  await system.stop();
  await proxy.stop();
  trace.disable();
  context.disable();
});
beforeEach(() => {
  system.reports.length = 0;
  notes.length = 0;
  exporter.reset();
});

const spansOf = (name: string): ReadableSpan[] =>
  exporter.getFinishedSpans().filter((span) => span.name === name);
const eventsOf = (name: string): string[] =>
  spansOf(name).flatMap(({ events }) => events.map((each) => each.name));
const failures = () => system.reports.filter(({ error }) => error instanceof TurnFailedError);

describe('a turn that ends as an error', () => {
  it('is told in one line, is a failed job that nobody tries again, and an error in the trace', async () => {
    const body = { error: { message: `no such key: ${secret}`, type: 'auth' } };
    system.respond(() => ({ error: { status: 401, body } }));
    const { id, stored } = await runTurn(turns, await newConversation(turns), secret);
    expect(stored.status).toBe('error');
    const reason = stored.error?.reason;

    await eventually(() => expect(failures()).toHaveLength(1));
    expect(failures()[0]).toMatchObject({
      error: { code: 'turn_failed', turnId: id, reason },
      context: { action: 'turn.finished', turnId: id, policy: 'default', status: 'error', reason },
    });
    expect(notes).toEqual([]);

    const job = await queue.getJob(turnJobId(id));
    await eventually(async () => expect(await job?.getState()).toBe('failed'));
    const asked = system.model.requests.length;
    await wholeSweep();
    const again = await queue.getJob(turnJobId(id));
    expect(await again?.getState()).toBe('failed');
    expect(again?.failedReason).toContain(`ended as an error: ${reason}`);
    expect(again?.attemptsStarted).toBe(1);
    expect(system.model.requests.length).toBe(asked);
    expect(await turns.get(id)).toMatchObject({ status: 'error', run: { epoch: 1 } });

    await eventually(() => expect(spansOf('turn.process')).toHaveLength(1));
    expect(spansOf('turn.process')[0]).toMatchObject({
      status: { code: SpanStatusCode.ERROR },
      attributes: { 'error.type': reason },
    });
    const reported = system.reports.map(({ error, context: given }) => [String(error), given]);
    expect(JSON.stringify([reported, again?.failedReason, again?.data])).not.toContain(secret);
  });

  it('leaves the conversation to its next turn', async () => {
    const conversation = await newConversation(turns);
    system.respond(() => ({ error: { status: 401, body: {} } }));
    expect((await runTurn(turns, conversation, 'x')).stored.status).toBe('error');
    system.respond(() => ({ text: ['fine'] }));
    expect((await runTurn(turns, conversation, 'y')).stored.text).toBe('fine');
  });
});

it('a turn that completes is noted once, with ids and figures only', async () => {
  system.respond(() => ({ text: [secret] }));
  const { id } = await runTurn(turns, await newConversation(turns), secret);
  await eventually(() => expect(notes).toHaveLength(1));
  expect(notes[0]).toEqual({
    what: 'turn finished',
    facts: { turnId: id, policy: 'default', status: 'completed', durationMs: expect.any(Number) },
  });
  expect(failures()).toEqual([]);
});

it('what a shared event stream tells stands in the spans of its turn', async () => {
  const gate = deferred();
  system.respond(() => ({ text: ['one ', 'two'], gate: gate.promise, gateAt: 1 }));
  const conversation = await newConversation(turns);
  const { id } = await turns.enqueue({ conversation, text: 'go' });
  for await (const entry of turns.follow(id)) if (entry.type === 'text' || entry.type === 'part') break;
  cut();
  await eventually(() =>
    expect(proxy.requests.filter(({ path }) => path === '/event').length).toBeGreaterThan(1),
  );
  gate.resolve();
  expect((await followAll(turns, id)).view.end?.status).toBe('completed');
  await eventually(() => expect(spansOf('turn.process')).toHaveLength(1));
  const told = [...eventsOf('turn.prompt'), ...eventsOf('turn.stream')];
  expect(told).toEqual(expect.arrayContaining(['opencode.response.started', 'opencode.stream.interrupted']));
});

it('a policy that no worker knows is told once, and costs no attempt', async () => {
  const conversation = await newConversation(turns);
  const { id } = await turns.enqueue({ conversation, text: 'go', policy: 'nobody' });
  const second = await turns.enqueue({
    conversation: await newConversation(turns),
    text: 'go',
    policy: 'nobody',
  });
  const started = async (turnId: string) => (await queue.getJob(turnJobId(turnId)))?.attemptsStarted ?? 0;
  await eventually(async () => expect(await started(id)).toBeGreaterThan(2), 20_000);
  await eventually(async () => expect(await started(second.id)).toBeGreaterThan(1), 20_000);
  expect(system.reports.map(({ error }) => (error as Error).name)).toEqual(['UnknownPolicyError']);
  expect((await queue.getJob(turnJobId(id)))?.attemptsMade).toBe(0);
  for (const turnId of [id, second.id]) await turns.cancel(turnId);
});

it('the first token comes within the time that a turn took, however long it had waited', async () => {
  const conversation = await newConversation(turns);
  system.respond(() => ({ text: ['fine'] }));
  // Nobody takes it before it looks as if it had been enqueued an hour ago.
  await queue.pause();
  const { id } = await turns.enqueue({ conversation, text: 'go' });
  const createdAt = new Date(Date.now() - 3_600_000);
  const _id = new turns.connection.base.Types.ObjectId(id);
  await turns.models.Message.collection.updateOne({ _id }, { $set: { createdAt } });
  await queue.resume();
  const { end } = (await followAll(turns, id)).view;
  expect(end?.status).toBe('completed');
  expect(end?.timeToFirstTokenMs).toBeLessThanOrEqual(end?.durationMs ?? 0);
});

it('two workers of one queue whose policies share a name and differ are told of, and agree when they do', async () => {
  const other = await system.connect({
    reporter: { report: (error, given) => system.reports.push({ error, context: given }) },
  });
  const differing = () => system.reports.filter(({ context: { action } }) => action === 'worker.policies');
  const same = await other.work({ policies: { default: { ...system.policy }, mine: {} } });
  expect(differing()).toEqual([]);
  await same.stop(0);
  const worker = await other.work({ policies: { default: { ...system.policy, limits: { maxSteps: 3 } } } });
  expect(differing()).toMatchObject([
    { error: { setting: 'policies.default' }, context: { severity: 'warning' } },
  ]);
  await worker.stop(0);
  await other.close();
});

/** Resolves once the sweeper has begun a sweep and ended it: the first end that is seen may be of one that had begun. */
async function wholeSweep(): Promise<void> {
  const redis = new Redis(system.redis.url);
  const monitor = await redis.monitor();
  let ended = 0;
  monitor.on('monitor', (_, [command = '', key]: string[]) => {
    if (command.toLowerCase() === 'pexpire' && key === `${system.options.prefix}:sweeper`) ended += 1;
  });
  try {
    await eventually(() => expect(ended).toBeGreaterThan(1), 10_000);
  } finally {
    monitor.disconnect();
    redis.disconnect();
  }
}
