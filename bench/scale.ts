/**
 * What an event costs one worker process, and what that process weighs, with 10, 100 and 1,000 turns live at once:
 * the worker as the Procfile starts it, on real sockets to a fake server that streams. Each conversation has its own
 * directory, as by default, and so each turn its own event stream. Every turn streams at the same rate.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Stage, startStage, type Usage, workerFlags } from './scale/stage.ts';
import { type BenchOptions, type BenchResult, round } from './support.ts';

const maxRatio = 1.2;
const maxRssMiB = 300;
/** Words per second of one turn: a thousand such turns are what one core can carry. */
const perSecond = 2;

interface Size {
  readonly turns: number;
  readonly events: number;
  readonly cpuMsPerEvent: number;
  /** Beyond what the process needs when it has no turn at all. */
  readonly ownCpuMsPerEvent: number;
  /** Of live turns that are silent. */
  readonly silentCpuMsPerSecond: number;
  readonly rssMiB: number;
  readonly heapMiB: number;
}

export async function run({ quick = false }: BenchOptions): Promise<BenchResult> {
  const sizes = quick ? [10, 100] : [10, 100, 1_000];
  const windowMs = quick ? 4_000 : 15_000;
  const stage = await startStage(Math.max(...sizes));
  await live(stage, 100, () => stage.stream(20, windowMs));
  await calm(stage);
  const idle = await during(stage, () => sleep(windowMs));
  const measured: Size[] = [];
  for (const turns of sizes) {
    measured.push(await live(stage, turns, () => measure(stage, turns, windowMs, idle.cpuMs / windowMs)));
    if (turns !== sizes.at(-1)) await calm(stage);
  }
  await stage.stop();
  const [least, most] = [measured[0], measured.at(-1)] as [Size, Size];
  const ratio = round(most.ownCpuMsPerEvent / least.ownCpuMsPerEvent);
  return {
    bench: 'scale',
    target: `CPU per event with ${most.turns} live turns ÷ with ${least.turns} ≤ ${maxRatio}, RSS ≤ ${maxRssMiB} MiB`,
    ok: ratio <= maxRatio && most.rssMiB <= maxRssMiB,
    ratio,
    rssMiB: most.rssMiB,
    workerFlags,
    eventsPerTurnSecond: perSecond,
    idleCpuMsPerSecond: round((idle.cpuMs / windowMs) * 1_000, 1),
    sizes: measured,
  };
}

/** Cost of the events of turns that are live. */
async function measure(stage: Stage, turns: number, windowMs: number, idleCpu: number): Promise<Size> {
  const silent = await during(stage, () => sleep(windowMs));
  let events = 0;
  const streaming = await during(stage, async () => {
    events = await stage.stream(perSecond, windowMs);
  });
  return {
    turns,
    events,
    cpuMsPerEvent: round(streaming.cpuMs / events),
    ownCpuMsPerEvent: round((streaming.cpuMs - idleCpu * streaming.ms) / events),
    silentCpuMsPerSecond: round((silent.cpuMs / silent.ms) * 1_000, 1),
    rssMiB: round(streaming.after.rssMiB, 0),
    heapMiB: round(streaming.after.heapMiB, 0),
  };
}

async function during(stage: Stage, work: () => Promise<unknown>) {
  const before = await stage.usage();
  const start = performance.now();
  await work();
  const after: Usage = await stage.usage();
  return { cpuMs: after.cpuMs - before.cpuMs, ms: performance.now() - start, after };
}

/** So many turns, each on a conversation of its own, prompted and silent while `work` runs; completed after it. */
async function live<T>(stage: Stage, count: number, work: () => Promise<T>): Promise<T> {
  const { turns } = stage;
  const { Conversation, Message } = turns.models;
  for (let done = 0; done < count; done += 50) {
    const some = Array.from({ length: Math.min(50, count - done) }, () => ({ title: 'scale' }));
    const conversations = await Conversation.create(some);
    await Promise.all(conversations.map((conversation) => turns.enqueue({ conversation, text: 'go' })));
  }
  await until(async () => (await stage.control('state')).busy === count);
  const result = await work();
  await stage.control('finish');
  await until(async () => (await Message.countDocuments({ status: 'pending' })) === 0);
  const completed = await Message.countDocuments({ role: 'assistant', status: 'completed' });
  const all = await Message.countDocuments({ role: 'assistant' });
  if (completed !== all) throw new Error(`${all - completed} of ${all} turns did not complete`);
  return result;
}

/** Event streams stay open for a while after their last turn. */
const calm = (stage: Stage) => until(async () => (await stage.control('state')).streams === 0);

async function until(reached: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 180_000;
  while (!(await reached())) {
    if (performance.now() > end) throw new Error('the turns did not get there');
    await sleep(200);
  }
}
