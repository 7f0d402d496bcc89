import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { startRedis } from '../../dev/services/redis.ts';
import { ServiceUnavailableError, type Turns } from '../../src/index.ts';
import { type GaugeName, type MetricName, metrics } from '../../src/instrumentation/metrics.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { HttpReplyProxy } from '../support/http-reply-proxy.ts';
import { MemoryMeter } from '../support/memory-meter.ts';
import { MongoReplyProxy } from '../support/mongo-reply-proxy.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';

const ours = { 'turn.policy': 'default' };
const model = { 'gen_ai.request.model': 'scripted' };
/** What each turn tells that a model was asked for. */
const ofAnyTurn = {
  'opencode_turns.enqueued': 1,
  'opencode_turns.queue.wait': 1,
  'opencode_turns.finished': 1,
  'opencode_turns.time_to_first_token': 1,
  'gen_ai.invoke_agent.duration': 1,
  'gen_ai.client.inference.usage.input_tokens': 1,
  'gen_ai.client.inference.usage.output_tokens': 1,
  'gen_ai.client.inference.usage.cache_read.input_tokens': 1,
  'gen_ai.client.inference.usage.cache_write.input_tokens': 1,
  'gen_ai.client.inference.usage.reasoning.output_tokens': 1,
  'opencode_turns.cost': 1,
};
const meter = new MemoryMeter();
/** Every metric that some test here has seen. */
const seen = new Set<MetricName>();
let system: TestSystem;
let http: HttpReplyProxy;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  http = await HttpReplyProxy.start(system.opencode.url);
  const { password } = system.opencode;
  turns = await system.connect({
    opencode: { url: http.url, ...(password ? { password } : {}) },
    meter,
  });
  const permissions = [{ permission: 'bash', pattern: '*', action: 'ask' as const }];
  await turns.work({
    policies: { default: { ...system.policy, agent: 'build' }, asking: { ...system.policy, permissions } },
  });
  system.respond(() => ({ text: ['warm'] }));
  await runTurn(turns, await newConversation(turns), 'warm');
}, 90_000);
afterAll(async () => {
  await turns?.close();
  // Whoever reads a gauge after its process has left would ask a closed connection.
  expect(meter.gauges).toEqual([]);
  await http?.stop();
  await system?.stop();
});
beforeEach(() => {
  for (const { name } of meter.measured) seen.add(name);
  meter.measured.length = 0;
});

const gauge = async (name: GaugeName) => (await meter.read(name))?.map(({ value }) => value);

/** A turn that is held in the middle of its text. */
async function heldTurn(conversation: string) {
  const gate = deferred();
  system.respond(() => ({ text: ['one ', 'two ', 'three'], gate: gate.promise, gateAt: 2 }));
  const { id } = await turns.enqueue({ conversation, text: 'count' });
  const ended = followAll(turns, id);
  await eventually(async () => expect((await turns.get(id))?.text).toContain('one '));
  return { id, gate, ended };
}

describe('each metric is told exactly once where it should be', () => {
  it('by a turn that goes well', async () => {
    system.respond(() => ({ text: ['done'] }));
    const { stored } = await runTurn(turns, await newConversation(turns), 'one');
    await eventually(() => expect(meter.times).toEqual(ofAnyTurn));
    const one = (name: MetricName) => meter.of(name)[0];
    expect(one('opencode_turns.finished')).toEqual({
      name: 'opencode_turns.finished',
      value: 1,
      attributes: { ...ours, 'turn.status': 'completed' },
    });
    expect(one('gen_ai.invoke_agent.duration')).toMatchObject({
      value: (stored.durationMs ?? 0) / 1_000,
      attributes: { ...ours, ...model, 'turn.status': 'completed', 'gen_ai.agent.name': 'build' },
    });
    const { input = 0, cacheRead = 0, cacheWrite = 0 } = stored.usage ?? {};
    expect(input + cacheRead + cacheWrite).toBeGreaterThan(0);
    expect(one('gen_ai.client.inference.usage.input_tokens')).toMatchObject({
      value: input + cacheRead + cacheWrite,
      attributes: { ...ours, ...model, 'gen_ai.provider.name': 'scripted', 'gen_ai.operation.name': 'chat' },
    });
    expect(one('opencode_turns.cost')?.value).toBe(stored.usage?.cost);
  });

  it('by a repeated call of enqueue: not again', async () => {
    system.respond(() => ({ text: ['done'] }));
    const conversation = await newConversation(turns);
    const input = { conversation, text: 'one', idempotencyKey: 'the same' };
    const { id } = await turns.enqueue(input);
    await turns.enqueue(input);
    await followAll(turns, id);
    await turns.enqueue(input);
    await eventually(() => expect(meter.times).toEqual(ofAnyTurn));
  });

  it('by a turn that fails: with its reason', async () => {
    const body = { error: { message: 'no such key', type: 'auth' } };
    system.respond(() => ({ error: { status: 401, body } }));
    const { stored } = await runTurn(turns, await newConversation(turns), 'one');
    await eventually(() => expect(meter.of('opencode_turns.finished')).toHaveLength(1));
    const reason = stored.error?.reason;
    expect(meter.of('opencode_turns.finished')[0]?.attributes).toEqual({
      ...ours,
      'turn.status': 'error',
      'turn.reason': reason,
    });
    expect(meter.of('gen_ai.invoke_agent.duration')[0]?.attributes).toMatchObject({ 'error.type': reason });
    // No model has told of any tokens: nothing is made up.
    expect(meter.of('gen_ai.client.inference.usage.input_tokens')).toEqual([]);
  });

  it('by a turn that is cancelled while it waits; and gauges tell who runs, waits and follows', async () => {
    const conversation = await newConversation(turns);
    const first = await heldTurn(conversation);
    const second = await turns.enqueue({ conversation, text: 'next' });
    const queue = `${system.options.prefix}:turns`;
    expect(await gauge('opencode_turns.running')).toEqual([1]);
    expect(await gauge('opencode_turns.followers')).toEqual([1]);
    await eventually(async () =>
      expect(await meter.read('opencode_turns.waiting')).toEqual([
        { value: 0, attributes: { 'job.state': 'ready', 'messaging.destination.name': queue } },
        { value: 1, attributes: { 'job.state': 'delayed', 'messaging.destination.name': queue } },
      ]),
    );
    await turns.cancel(second.id);
    await eventually(() =>
      expect(meter.of('opencode_turns.finished').map(({ attributes }) => attributes)).toEqual([
        { ...ours, 'turn.status': 'cancelled' },
      ]),
    );
    expect(meter.of('gen_ai.invoke_agent.duration')).toEqual([]);
    expect(meter.of('opencode_turns.queue.wait')).toHaveLength(1);
    first.gate.resolve();
    await first.ended;
    await eventually(async () => expect(await gauge('opencode_turns.running')).toEqual([0]));
    expect(await gauge('opencode_turns.followers')).toEqual([0]);
    expect(meter.of('opencode_turns.finished')).toHaveLength(2);
  });

  it('by a turn that waits for a person', async () => {
    const bash = { name: 'bash', input: { command: 'echo x', description: 'test' } };
    system.respond(({ step }) => (step === 0 ? { tools: [bash] } : { text: ['done'] }));
    const conversation = await newConversation(turns);
    const { id } = await turns.enqueue({ conversation, text: 'ask', policy: 'asking' });
    for await (const entry of turns.follow(id)) {
      if (entry.type !== 'request' || entry.request.state !== 'open') continue;
      expect(await gauge('opencode_turns.waiting_for_people')).toEqual([1]);
      await turns.answer(id, entry.request.requestId, { kind: 'permission', reply: 'once' });
    }
    expect(await gauge('opencode_turns.waiting_for_people')).toEqual([0]);
    await eventually(() => expect(meter.times).toEqual(ofAnyTurn));
  });

  it('by a turn whose run the server loses, and one whose session is gone', async () => {
    const conversation = await newConversation(turns);
    const lost = await heldTurn(conversation);
    system.respond(() => ({ text: ['again'] }));
    const { url, password } = system.opencode;
    const address = serverAddress(url, undefined, password);
    const directory = encodeURIComponent(system.policy.directory());
    await fetch(`${url}/instance/dispose?directory=${directory}`, {
      method: 'POST',
      headers: address.headers,
    });
    await lost.ended;
    await eventually(() => expect(meter.times).toEqual({ ...ofAnyTurn, 'opencode_turns.reruns': 1 }));
    expect(meter.of('opencode_turns.reruns')[0]?.attributes).toEqual(ours);

    meter.measured.length = 0;
    seen.add('opencode_turns.reruns');
    const { run } = (await turns.get(lost.id)) ?? {};
    const client = openCodeClient({ address });
    await client.deleteSession(run?.sessionId ?? '');
    const { stored } = await runTurn(turns, conversation, 'next');
    expect(stored).toMatchObject({ status: 'completed', run: { resends: 1 } });
    await eventually(() => expect(meter.times).toEqual({ ...ofAnyTurn, 'opencode_turns.resends': 1 }));
  });

  it('by a call that the server answers wrongly', async () => {
    system.respond(() => ({ text: ['done'] }));
    const wrong = http.replace({
      at: ({ method, path }) => method === 'GET' && /\/message$/.test(path),
      executed: false,
      reply: { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' },
    });
    await runTurn(turns, await newConversation(turns), 'one');
    http.clear();
    expect(wrong.hits).toHaveLength(1);
    const { hostname, port } = new URL(http.url);
    expect(meter.of('opencode_turns.upstream.errors')).toEqual([
      {
        name: 'opencode_turns.upstream.errors',
        value: 1,
        attributes: {
          'error.type': 'upstream_foreign_answer',
          'server.address': hostname,
          'server.port': Number(port),
        },
      },
    ]);
    await eventually(() =>
      expect(meter.times).toEqual({ ...ofAnyTurn, 'opencode_turns.upstream.errors': 1 }),
    );
  });

  it('by a worker that adopts a turn: once over both owners', async () => {
    const [before, after] = [new MemoryMeter(), new MemoryMeter()];
    const prefix = `${system.options.prefix}-adopted`;
    const mongo = system.database('adopted');
    const [one, two] = [
      await system.connect({ prefix, mongo, meter: before }),
      await system.connect({ prefix, mongo, meter: after }),
    ];
    const policies = { default: system.policy };
    await one.work({ policies });
    const gate = deferred();
    system.respond(() => ({ text: ['one ', 'two ', 'three'], gate: gate.promise, gateAt: 2 }));
    const { id } = await two.enqueue({ conversation: await newConversation(two), text: 'count' });
    await eventually(async () => expect((await two.get(id))?.text).toContain('one '));
    await one.close();
    expect(before.times).toEqual({ 'opencode_turns.queue.wait': 1 });
    await two.work({ policies });
    await eventually(() => expect(after.of('opencode_turns.adopted')).toHaveLength(1));
    gate.resolve();
    await followAll(two, id);
    const { 'opencode_turns.queue.wait': _elsewhere, ...rest } = ofAnyTurn;
    await eventually(() => expect(after.times).toEqual({ ...rest, 'opencode_turns.adopted': 1 }));
    seen.add('opencode_turns.adopted');
    await two.close();
  });

  it('by a call that finds Redis or MongoDB away', async () => {
    const away = new MemoryMeter();
    const redis = await startRedis(() => undefined);
    const mongo = await MongoReplyProxy.start(system.options.mongo);
    const app = await system.connect({ redis: redis.url, mongo: mongo.url, meter: away });
    try {
      const conversation = await newConversation(app);
      mongo.replace({ at: ({ name }) => name === 'find', executed: false, reply: 'cut', times: 1_000 });
      await expect(app.get(conversation)).rejects.toBeInstanceOf(ServiceUnavailableError);
      expect(away.measured).toEqual([
        { name: 'opencode_turns.unavailable', value: 1, attributes: { 'db.system.name': 'mongodb' } },
      ]);
      mongo.clear();
      await redis.stop();
      await eventually(async () => {
        away.measured.length = 0;
        await expect(app.enqueue({ conversation, text: 'x' })).rejects.toBeInstanceOf(
          ServiceUnavailableError,
        );
        expect(away.measured).toEqual([
          { name: 'opencode_turns.unavailable', value: 1, attributes: { 'db.system.name': 'redis' } },
        ]);
      });
      seen.add('opencode_turns.unavailable');
    } finally {
      await app.close();
      await mongo.stop();
    }
  }, 30_000);

  it('none is left that no test has seen', () => {
    const told = Object.entries(metrics).flatMap(([name, { kind }]) => (kind === 'gauge' ? [] : [name]));
    expect(told.filter((name) => !seen.has(name as MetricName))).toEqual([]);
  });
});
