import type { ReplyLane, ReplyPoint, Side } from './reply-lane.ts';
import { print } from './result.ts';
import { only, seed, seeded, shuffled } from './sizes.ts';

export interface ReplyOutcome {
  readonly point: ReplyPoint;
  /** What did not hold. */
  readonly failure: string | undefined;
}

/** The answers to a worker are the most and the most interesting. */
const weights: Record<Side, number> = { worker: 3, first: 1, enqueue: 1, follow: 1 };

const counted = (labels: readonly string[]) => {
  const counts = new Map<string, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return counts;
};

/** Every answer of an undisturbed turn, with everything that can stand in its place. */
export async function allPoints(open: () => Promise<ReplyLane>): Promise<ReplyPoint[]> {
  const lane = await open();
  const points: ReplyPoint[] = [];
  const add = (side: Side, service: string, counts: ReadonlyMap<string, number>) => {
    const answers = lane.answers[side][service];
    for (const [label, count] of counts)
      for (let nth = 1; nth <= count; nth += 1)
        for (const reply of answers?.replies ?? [])
          for (const executed of answers?.reads(label) ? [false] : [true, false])
            points.push({ side, service, label, nth, reply, executed });
    print(`${side} ${service}: ${[...counts].map(([label, count]) => `${count} ${label}`).join(', ')}`);
  };
  const first = await lane.watch('first');
  for (const side of ['worker', 'enqueue', 'follow'] as const)
    for (const [service, labels] of Object.entries(await lane.watch(side))) {
      add(side, service, counted(labels));
      if (side !== 'worker') continue;
      const onlyFirst = (first[service] ?? []).filter((label) => !labels.includes(label));
      add('first', service, counted(onlyFirst));
    }
  await lane.close();
  return points;
}

/** In an order whose every beginning holds of each side and service its share. */
export function mixed(all: readonly ReplyPoint[]): ReplyPoint[] {
  const points = all.filter((point) => nameOf(point).includes(only));
  const ranks = new Map<string, number>();
  const ranked = shuffled(points, seeded(seed)).map((point) => {
    const group = `${point.side} ${point.service}`;
    const rank = (ranks.get(group) ?? 0) + 1;
    ranks.set(group, rank);
    return { point, at: rank / weights[point.side] };
  });
  return ranked.sort((a, b) => a.at - b.at).map(({ point }) => point);
}

interface Plan {
  readonly open: (name: string) => Promise<ReplyLane>;
  readonly lanes: number;
  /** Answers to replace. */
  readonly wanted: number;
}

/** Tries points on lanes side by side until so many answers were replaced; a lane that broke a promise is given up. */
export async function tryReplies(points: readonly ReplyPoint[], plan: Plan): Promise<ReplyOutcome[]> {
  const waiting = mixed(points);
  const outcomes: ReplyOutcome[] = [];
  let missed = 0;
  print(`replies: seed ${seed}, ${points.length} points in all`);
  let opened = 0;
  const open = () => {
    opened += 1;
    return plan.open(`lane${opened}`);
  };
  await Promise.all(
    Array.from({ length: plan.lanes }, async () => {
      let lane = await open();
      const renew = async () => {
        await lane.close();
        lane = await open();
      };
      for (let point = waiting.shift(); point && outcomes.length < plan.wanted; point = waiting.shift()) {
        if (point.side === 'first') await renew();
        const outcome = await outcomeOf(lane, point);
        if (outcome) outcomes.push(outcome);
        else missed += 1;
        if (outcome?.failure !== undefined) {
          print(`broken: ${nameOf(point)}: ${outcome.failure}`);
          await renew();
        }
        if (outcome && outcomes.length % 25 === 0) print(`replies: ${outcomes.length} replaced`);
      }
      await lane.close();
    }),
  );
  report(outcomes, missed);
  return outcomes;
}

/** Undefined when the turn ended without that answer. */
async function outcomeOf(lane: ReplyLane, point: ReplyPoint): Promise<ReplyOutcome | undefined> {
  try {
    return (await lane.attempt(point)) ? { point, failure: undefined } : undefined;
  } catch (error) {
    return { point, failure: error instanceof Error ? error.message : String(error) };
  }
}

const nameOf = ({ side, service, label, nth, reply, executed }: ReplyPoint) =>
  `${side} ${service} "${label}" ${nth}, ${executed ? 'executed' : 'not executed'}, answered ${reply}`;

function report(outcomes: readonly ReplyOutcome[], missed: number): void {
  const groups = new Map<string, { replaced: number; broken: number }>();
  for (const { point, failure } of outcomes) {
    const key = `${point.side} ${point.service} ${point.label}`;
    const group = groups.get(key) ?? { replaced: 0, broken: 0 };
    group.replaced += 1;
    if (failure !== undefined) group.broken += 1;
    groups.set(key, group);
  }
  const rows = [...groups]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(
      ([key, { replaced, broken }]) =>
        `  ${key.padEnd(72)} ${String(replaced).padStart(4)}  broken ${broken}`,
    );
  const broken = outcomes.filter(({ failure }) => failure !== undefined).length;
  const sum = `${outcomes.length} answers replaced, ${missed} turns ended without theirs, ${broken} broken promises`;
  print([`replies: seed ${seed}, ${sum}`, ...rows].join('\n'));
}
