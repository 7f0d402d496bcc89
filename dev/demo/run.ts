import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { Closers } from '../../src/closers.ts';
import { connect, type StoredTurn, type TurnEntry, type Turns, type TurnView } from '../../src/index.ts';
import { startTelemetry } from '../../src/otel/sdk.ts';
import { otelTracer } from '../../src/otel/tracer.ts';
import { delay } from '../../src/timing/clock.ts';
import { applyEntry, emptyView } from '../../src/view.ts';
import { type ScriptedModel, startScriptedModel } from '../scripted-model/server.ts';
import { startMongo } from '../services/mongo.ts';
import { startOpenCode } from '../services/opencode.ts';
import { startRedis } from '../services/redis.ts';
import type { Service } from '../services/service.ts';
import { renderSpanTree, startSpanCollector } from '../span-collector.ts';
import type { DemoOptions } from './options.ts';
import { startFromProcfile } from './processes.ts';
import type { Screen } from './screen.ts';
import { demoScript } from './script.ts';

export interface DemoContext {
  readonly screen: Screen;
  readonly closers: Closers;
  /** A directory of this demo alone. */
  readonly directory: string;
  /** Of the board. */
  readonly password: string;
}

export interface DemoResult {
  readonly turnId: string;
  readonly sessionId: string | undefined;
  readonly status: string;
  readonly text: string;
  readonly parts: readonly string[];
  readonly artifacts: readonly { filename: string; bytes: number }[];
  /** Of the scripted model; null with a model of the person's own. */
  readonly modelRequests: number | null;
  readonly durationMs: number | undefined;
  readonly timeToFirstTokenMs: number | undefined;
  readonly traceId: string | undefined;
}

type Collector = Awaited<ReturnType<typeof startSpanCollector>>;

export async function runDemo(options: DemoOptions, context: DemoContext): Promise<DemoResult> {
  const { screen, closers } = context;
  screen.line('opencode-turns demo: one turn on a real OpenCode server', 'bold');
  const model = options.model ? undefined : await startScriptedModel(demoScript);
  if (model) closers.add('scripted model', () => model.stop());
  const services = await startServices(context, model);
  const collector = await startSpanCollector();
  closers.add('span collector', () => collector.stop());
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = collector.url;
  const stopTelemetry = startTelemetry('demo-web-app', { traces: true, metrics: false });
  closers.add('telemetry', stopTelemetry);

  const prefix = `opencode-turns-demo-${randomBytes(4).toString('hex')}`;
  const settings = {
    REDIS_URL: services.redis.url,
    MONGODB_URL: services.mongo.url,
    OPENCODE_URL: services.opencode.url,
    ...(services.opencode.password ? { OPENCODE_SERVER_PASSWORD: services.opencode.password } : {}),
    OPENCODE_TURNS_MODEL: options.model ?? 'scripted/scripted',
    OPENCODE_TURNS_PREFIX: prefix,
    OPENCODE_TURNS_SANDBOX_ROOT: path.join(context.directory, 'sandboxes'),
  };
  const board = await startProcesses(context, settings, collector.url);
  const turns = await connect({
    redis: services.redis.url,
    mongo: services.mongo.url,
    opencode: services.opencode,
    // Services that were there already may serve others, whose jobs and sessions are none of ours.
    prefix,
  });
  closers.add('web app', () => turns.close());

  const { stored, traceId } = await oneTurn(turns, options, screen);
  await showSummary(screen, stored, model, collector, traceId);
  screen.line(options.keep ? '\nLinks' : '\nLinks (add --keep to leave them open)', 'bold');
  screen.fact('board', `${board}  user demo, password ${context.password}`);
  const { url, password } = services.opencode;
  screen.fact('OpenCode', `${url}  ${password ? `user opencode, password ${password}` : 'no password'}`);
  if (options.keep) {
    const env = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    screen.fact('chat', `in another terminal: ${env.join(' ')} npx tsx examples/web-chat/server.ts`);
  }
  return resultOf(stored, model, traceId);
}

async function startServices({ screen, closers }: DemoContext, model: ScriptedModel | undefined) {
  screen.line('  starting Redis, MongoDB and OpenCode', 'dim');
  const progress = (message: string) => screen.line(`  ${message}`, 'dim');
  const started = async <T extends Service>(starting: Promise<T>): Promise<T> => {
    const service = await starting;
    closers.add(service.name, () => service.stop());
    screen.fact(service.name, `${withoutCredentials(service.url)}  ${service.description}`);
    return service;
  };
  // All of them settle before one failure is told: what did start is known to the closers then.
  const [redis, mongo, opencode] = await Promise.allSettled([
    started(startRedis(progress)),
    started(startMongo()),
    started(startOpenCode({ progress, ...(model ? { modelUrl: model.url } : { ownProviders: true }) })),
  ]);
  if (redis.status === 'rejected') throw redis.reason;
  if (mongo.status === 'rejected') throw mongo.reason;
  if (opencode.status === 'rejected') throw opencode.reason;
  return { redis: redis.value, mongo: mongo.value, opencode: withPassword(opencode.value) };
}

/** Of one that the person has named: their terminal may be shown to others. */
const withoutCredentials = (url: string) => url.replace(/^([\w+]+:\/\/)[^/?#]*@/, '$1');

function withPassword({ url, password }: { url: string; password: string | undefined }) {
  return { url, ...(password ? { password } : {}) };
}

/** Returns the board's address. */
async function startProcesses(
  { screen, closers, password }: DemoContext,
  settings: Readonly<Record<string, string>>,
  telemetryUrl: string,
): Promise<string> {
  const env = {
    ...settings,
    OTEL_EXPORTER_OTLP_ENDPOINT: telemetryUrl,
    OPENCODE_TURNS_BOARD_USER: 'demo',
    OPENCODE_TURNS_BOARD_PASSWORD: password,
    OPENCODE_TURNS_BOARD_PORT: '0',
  };
  const [worker, board] = await Promise.all(
    ['worker', 'board'].map(async (name) => {
      const started = await startFromProcfile(name, env);
      closers.add(name, () => started.stop());
      screen.fact(name, `process ${started.ready.pid}${started.ready.url ? `  ${started.ready.url}` : ''}`);
      return started;
    }),
  );
  if (!worker || !board) throw new Error('the worker or the board did not start');
  return board.ready.url ?? '';
}

async function oneTurn(turns: Turns, options: DemoOptions, screen: Screen) {
  return otelTracer('demo').span('turn.request', {}, async () => {
    const conversation = await turns.models.Conversation.create({ title: 'Demo' });
    screen.line(`\n“${options.text}”`, 'bold');
    const turn = await turns.enqueue({ conversation, text: options.text, idempotencyKey: 'demo' });
    let view: TurnView = emptyView;
    for await (const entry of turns.follow(turn.id)) {
      screen.show(entry as TurnEntry);
      view = applyEntry(view, entry);
    }
    const stored = await turns.get(turn.id);
    if (!stored) throw new Error('the turn is gone');
    return { stored, traceId: otelTracer().traceId() };
  });
}

async function showSummary(
  screen: Screen,
  turn: StoredTurn,
  model: ScriptedModel | undefined,
  collector: Collector,
  traceId: string | undefined,
): Promise<void> {
  const { usage } = turn;
  screen.line(`\n${turn.status}`, turn.status === 'completed' ? 'green' : 'red');
  // Upstream may send a stack behind its first line.
  const { error } = turn;
  if (error)
    screen.fact('error', `${error.reason}: ${error.message}${error.detail ? ` (${error.detail})` : ''}`);
  const first =
    turn.timeToFirstTokenMs === undefined ? '' : `, first token after ${turn.timeToFirstTokenMs} ms`;
  screen.fact('time', `${turn.durationMs} ms${first}`);
  if (usage && usage.steps > 0)
    screen.fact(
      'usage',
      `${usage.steps} steps, ${usage.input} tokens in, ${usage.output} out, $${usage.cost.toFixed(4)}`,
    );
  if (model) screen.fact('model', `${model.turnRequests.length} requests`);
  if (traceId === undefined) return;
  screen.line('\nTrace', 'bold');
  for (const line of renderSpanTree(await completeTrace(collector, traceId))) screen.line(`  ${line}`);
}

/** Spans of both processes arrive within a second or so; the worker's outermost one comes last. */
async function completeTrace(collector: Collector, traceId: string) {
  for (let tries = 0; tries < 50; tries += 1) {
    const spans = collector.trace(traceId);
    if (
      spans.some(({ name }) => name === 'turn.process') &&
      spans.some(({ name }) => name === 'turn.request')
    )
      return spans;
    await delay(100);
  }
  return collector.trace(traceId);
}

function resultOf(
  turn: StoredTurn,
  model: ScriptedModel | undefined,
  traceId: string | undefined,
): DemoResult {
  return {
    turnId: turn.id,
    sessionId: turn.run.sessionId,
    status: turn.status,
    text: turn.text,
    parts: turn.parts.map((part) => (part.type === 'tool' ? `tool:${part.tool}` : part.type)),
    artifacts: turn.artifacts.map(({ filename, bytes }) => ({ filename, bytes })),
    modelRequests: model ? model.turnRequests.length : null,
    durationMs: turn.durationMs,
    timeToFirstTokenMs: turn.timeToFirstTokenMs,
    traceId,
  };
}
