import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { connect } from '../../src/index.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { type Doc, errorReply, MongoReplyProxy } from '../support/mongo-reply-proxy.ts';
import { type RawCollector, startRawCollector } from '../support/raw-collector.ts';
import { redisContents } from '../support/redis-contents.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const mark = (name: string) => `marker-${name}-6c1f`;

/** Where each marker may be found, and is: a row that nothing plants any more fails, too. */
const rows: Readonly<Record<string, readonly string[]>> = {
  text: ['messages'],
  title: ['conversations'],
  key: ['messages'],
  reply: ['messages', 'stream'],
  reasoning: ['messages', 'stream'],
  fileContent: ['files', 'messages', 'stream'],
  command: ['messages', 'stream'],
  output: ['messages', 'stream'],
  // What upstream said of a failure is kept with the turn; followers get a sentence of ours.
  upstreamError: ['messages'],
  hookError: ['log'],
  directory: ['conversations', 'messages', 'stream'],
  system: ['messages'],
  urlPath: [],
  urlQuery: [],
  header: [],
  baggage: [],
  hostAttribute: [],
  hostError: [],
  redisPassword: [],
  mongoPassword: [],
  openCodePassword: [],
};
const names = Object.keys(rows);
const marks = Object.fromEntries(names.map((name) => [name, mark(name)]));

let system: TestSystem;
let redis: Service;
let admin: Redis;
let collector: RawCollector;
let worker: WorkerProcess;
const places: Record<string, string> = {};

beforeAll(async () => {
  [system, redis, collector] = await Promise.all([
    startSystem(),
    startRedis(() => undefined, { 'notify-keyspace-events': '' }),
    startRawCollector(),
  ]);
  admin = new Redis(redis.url);
  await admin.config('SET', 'requirepass', mark('redisPassword'));
  marks.openCodePassword = system.opencode.password ?? '';
  script();
  worker = await startWorkerProcess(system, env());
  const app = await runApp();
  await collect(app);
}, 180_000);
afterAll(async () => {
  worker?.kill('SIGKILL');
  admin?.disconnect();
  collector?.stop();
  await Promise.all([redis?.stop(), system?.stop()]);
});

/** A tool that reads what is secret, an error of the model, and an answer that does not end. */
function script(): void {
  const { reply = '', reasoning = '', fileContent = '', command = '', output = '', upstreamError } = marks;
  const [head = '', tail = ''] = output.split('-6');
  system.respond(({ userText, step, kind }) => {
    if (kind === 'other') return { text: ['A title.'] };
    if (userText.includes('fail'))
      return { error: { status: 400, body: { error: { message: upstreamError, type: 'invalid' } } } };
    if (userText.includes('hang')) return { reasoning: [reasoning], text: [reply], ending: 'hang' };
    if (step > 0) return { reasoning: [reasoning], text: [reply, ' Done.'] };
    const print = `printf '%s%s' ${head} -6${tail} # ${command}`;
    return {
      reasoning: [reasoning],
      text: [reply],
      tools: [
        { name: 'bash', input: { command: print, description: 'Print' } },
        { name: 'write', input: { filePath: 'secret.txt', content: fileContent } },
      ],
    };
  });
}

function env(): NodeJS.ProcessEnv {
  const directory = path.join(system.sandboxRoot, mark('directory'));
  mkdirSync(directory, { recursive: true });
  return {
    REDIS_URL: redis.url.replace('redis://', `redis://:${mark('redisPassword')}@`),
    MONGODB_URL: system.options.mongo,
    OPENCODE_URL: system.opencode.url,
    OPENCODE_SERVER_PASSWORD: system.opencode.password,
    OPENCODE_TURNS_PREFIX: system.options.prefix,
    OPENCODE_TURNS_POLICIES: 'test/support/marker-policies.mjs',
    TEST_DIRECTORY: directory,
    TEST_SERVICE: collector.url,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_PROPAGATORS: 'b3,baggage',
    OPENCODE_TURNS_LOG_FORMAT: 'json',
    // Gauges, too, which are there only while the process works.
    OTEL_METRIC_EXPORT_INTERVAL: '200',
    MARKERS: JSON.stringify(marks),
  };
}

async function runApp(): Promise<string> {
  const child = spawn(
    process.execPath,
    ['--import', './dist/workers/instrument.js', 'test/support/marker-app.mjs'],
    { cwd: root, env: { ...process.env, ...env() }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  if (child.exitCode !== 0) throw new Error(err);
  return `${out}\n${err}`;
}

/** Everything that is left of it, by place. */
async function collect(app: string): Promise<void> {
  const stored = await Promise.all(
    (JSON.parse(app.split('\n')[0] ?? '') as { turns: string[] }).turns.map(async (id) => ({ id })),
  );
  expect(stored).toHaveLength(3);
  worker.kill('SIGTERM');
  await worker.exited;
  places.spans = collector.sent('/v1/traces');
  places.metrics = collector.sent('/v1/metrics');
  places.log = `${worker.lines.join('\n')}\n${app}`;
  Object.assign(places, await redisContents(admin), await documents(), { errors: await errors() });
}

function spansIn(sent: string): { name: string; traceId: string }[] {
  const bodies = sent.split('\n').filter((line) => line.startsWith('{"resourceSpans"'));
  return bodies.flatMap((line) =>
    (
      JSON.parse(line) as {
        resourceSpans: { scopeSpans: { spans: { name: string; traceId: string }[] }[] }[];
      }
    ).resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
  );
}

async function documents(): Promise<Record<string, string>> {
  const connection = await connectMongo(system.options.mongo);
  try {
    const found: Record<string, string> = {};
    for (const [collection, place] of [
      ['messages', 'messages'],
      ['conversations', 'conversations'],
      ['artifacts.files', 'files'],
      ['artifacts.chunks', 'files'],
    ] as const) {
      const all = await connection.collection(`opencode_turns_${collection}`).find({}).toArray();
      const chunks = all.map(({ data }) => (data ? Buffer.from(data.buffer).toString('latin1') : ''));
      found[place] = [found[place] ?? '', JSON.stringify(all), ...chunks].join('\n');
    }
    return found;
  } finally {
    await connection.close();
  }
}

/** As a logger prints an error that goes to the ground of it: causes, hidden fields and getters. */
const printed = (error: unknown) =>
  inspect(error, {
    depth: 20,
    showHidden: true,
    getters: true,
    maxArrayLength: null,
    maxStringLength: null,
  });

/** Wrong passwords, wrong addresses, and what a database refuses to store. */
const errors = async () => [await refusedConnects(), await refusedInserts()].join('\n');

/** The driver hangs on its errors what it could not store, and the server's details of it. */
async function refusedInserts(): Promise<string> {
  const proxy = await MongoReplyProxy.start(system.options.mongo);
  const turns = await system.connect({ redis: String(env().REDIS_URL), mongo: proxy.url });
  const conversation = await turns.models.Conversation.create({ title: 'x' });
  const failed: Doc = { index: 0, errInfo: { consideredValue: marks.text }, errmsg: 'refused' };
  const replies: (Doc | 'cut')[] = [
    'cut',
    ...[13, 79, 91, 121, 10334, 4711].map((code) => errorReply(code)),
    ...[121, 10334, 22].map((code) => ({ ok: 1, n: 0, writeErrors: [{ ...failed, code }] })),
  ];
  const told: string[] = [];
  try {
    for (const reply of replies) {
      proxy.replace({ at: ({ name }) => name === 'insert', executed: false, reply, times: 1_000 });
      const call = turns.enqueue({ conversation, text: marks.text ?? '', idempotencyKey: marks.key ?? '' });
      const error = await call.then(() => expect(reply).toBe('refused'), printed);
      proxy.clear();
      told.push(String(error));
    }
  } finally {
    await turns.close();
    await proxy.stop();
  }
  return told.join('\n');
}

async function refusedConnects(): Promise<string> {
  const { mongo, opencode } = system.options;
  const secretMongo = mongo.replace('mongodb://', `mongodb://user:${marks.mongoPassword}@`);
  const given = { redis: redis.url, mongo, opencode, prefix: 'markers', connectTimeoutMs: 1_000 };
  const wrong = [
    { redis: redis.url.replace('redis://', `redis://:wrong-${marks.redisPassword}@`) },
    { redis: `redis://:${marks.redisPassword}@127.0.0.1:1` },
    { redis: `redis://:${marks.redisPassword}@host:port` },
    { mongo: secretMongo.replace(/:\d+\//, ':1/') },
    { mongo: secretMongo.replace(/:\d+\//, ':port/') },
    { mongo: `${secretMongo}?authMechanism=${marks.mongoPassword}&nonsense=1` },
    { mongo: `mongodb://user:${marks.mongoPassword}@%zz/x` },
    { mongo: `mongodb://user:%${marks.mongoPassword}@127.0.0.1:1/x` },
    { mongo: `mongodb+srv://user:${marks.mongoPassword}@127.0.0.1/x` },
    { opencode: { url: `http://u:${marks.openCodePassword}@host:port` } },
    { opencode: { url: `ftp://u:${marks.openCodePassword}@host` } },
  ];
  const told = await Promise.all(
    wrong.map((one) =>
      connect({ ...given, ...one, reporter: { report: () => undefined } }).then(() => {
        throw new Error(`taken: ${Object.keys(one)}`);
      }, printed),
    ),
  );
  expect(told.join('\n')).not.toContain('taken:');
  return told.join('\n');
}

it('spans and metrics arrived from both processes, and every turn came to its end', async () => {
  for (const name of ['turn.enqueue', 'turn.process', 'opencode.request', 'evalsha', '"GET"', 'find'])
    expect(places.spans).toContain(name);
  expect(places.metrics).toContain('http.client.request.duration');
  for (const name of ['finished', 'enqueued', 'queue.wait', 'cost', 'running', 'waiting', 'followers'])
    expect(places.metrics).toContain(`"opencode_turns.${name}"`);
  expect(places.metrics).toContain('gen_ai.invoke_agent.duration');
  expect(places.log).toMatch(
    /^\{.*"policy":"default","status":"completed".*"level":"info","message":"turn finished"\}$/m,
  );
  expect(places.log).toMatch(/^\{.*"action":"turn.finished".*"level":"error"/m);
  for (const status of ['completed', 'error', 'cancelled'])
    expect(places.messages).toContain(`"status":"${status}"`);
  expect(places.messages).not.toContain('"status":"pending"');
});

it('one trace leads from the web app to the worker and its calls, whatever OTEL_PROPAGATORS says', () => {
  const spans = spansIn(places.spans ?? '');
  const traceIds = new Set(
    spans.filter(({ name }) => /^turn\.(enqueue|process|prompt)$/.test(name)).map(({ traceId }) => traceId),
  );
  expect(traceIds.size).toBe(1);
  const carriers = [...(places.messages ?? '').matchAll(/"carrier":({.*?})/g)].map(([, json]) =>
    Object.keys(JSON.parse(String(json))),
  );
  expect(new Set(carriers.flat())).toEqual(new Set(['traceparent']));
});

it.each(names)('%s is where it may be, and nowhere else', (name) => {
  const value = marks[name] ?? '';
  expect(value.length).toBeGreaterThan(5);
  const forms = [value, Buffer.from(`opencode:${value}`).toString('base64'), encodeURIComponent(value)];
  const found = Object.keys(places).filter((place) =>
    forms.some((form) => (places[place] ?? '').includes(form)),
  );
  expect(found.sort()).toEqual([...(rows[name] ?? [])].sort());
});
