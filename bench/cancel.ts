/**
 * How soon a cancel acts: from `turns.cancel` in one process (the web app) to the abort at the OpenCode server,
 * which the worker sends from a process of its own. Real server, one turn at a time, each in its own conversation;
 * a proxy in front of the server sees the abort come. Throws unless each turn ends as cancelled with its text kept.
 */
import { Closers } from '../src/closers.ts';
import type { Turns } from '../src/index.ts';
import { startSystem, type TestSystem } from '../test/support/system.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../test/support/upstream-proxy.ts';
import { startWorkerProcess } from '../test/support/worker-process.ts';
import { expectEnd, holdTurn } from './held-turn.ts';
import { type BenchOptions, type BenchResult, median, percentile, round } from './support.ts';

const targetMs = 100;
/** Turns before the first one that counts: the server loads the directory, and both processes their code. */
const warmUps = 3;

interface Stage {
  readonly system: TestSystem;
  readonly proxy: UpstreamProxy;
  readonly web: Turns;
}

export async function run({ quick = false }: BenchOptions): Promise<BenchResult> {
  const count = quick ? 10 : 60;
  const closers = new Closers();
  const abortMs: number[] = [];
  const endMs: number[] = [];
  try {
    const stage = await startStage(closers);
    for (let at = -warmUps; at < count; at += 1) {
      const { abort, end } = await cancelOne(stage);
      if (at < 0) continue;
      abortMs.push(abort);
      endMs.push(end);
    }
  } finally {
    await closers.close();
  }
  const p95 = round(percentile(abortMs, 0.95), 1);
  return {
    bench: 'cancel',
    target: `cancel in one process to the abort at the server, p95 ≤ ${targetMs} ms`,
    ok: p95 <= targetMs,
    count,
    medianMs: round(median(abortMs), 1),
    p95Ms: p95,
    maxMs: round(Math.max(...abortMs), 1),
    untilEndMedianMs: round(median(endMs), 1),
    untilEndMaxMs: round(Math.max(...endMs), 1),
  };
}

async function startStage(closers: Closers): Promise<Stage> {
  const system = await startSystem();
  closers.add('system', () => system.stop());
  const proxy = await startUpstreamProxy(system.opencode.url);
  closers.add('proxy', () => proxy.stop());
  const worker = await startWorkerProcess(system, { ...system.env, OPENCODE_URL: proxy.url });
  closers.add('worker', () => {
    worker.kill('SIGKILL');
    return worker.exited;
  });
  return { system, proxy, web: await system.connect() };
}

/** Milliseconds from the cancel to its abort, and to the end that the follower is told. */
async function cancelOne({ system, proxy, web }: Stage): Promise<{ abort: number; end: number }> {
  const turn = await holdTurn(system, web);
  const since = performance.now();
  const answer = await web.cancel(turn.id);
  if (answer !== 'requested') throw new Error(`the cancel of turn ${turn.id} was answered with "${answer}"`);
  const { run: state } = await expectEnd(turn, 'cancelled', turn.said);
  const route = `/session/${state.sessionId}/abort`;
  const abort = proxy.requests.find(({ method, path }) => method === 'POST' && path === route);
  if (!abort) throw new Error(`turn ${turn.id} was cancelled without an abort`);
  const end = await turn.seen(({ type }) => type === 'finished', 0);
  return { abort: abort.at - since, end: end - since };
}
