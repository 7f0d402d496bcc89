/** What both ways have to do, and what one pass over it cost. */
export interface Load {
  readonly conversations: number;
  readonly concurrency: number;
  /** One per turn; turn `n` is of conversation `n % conversations`. */
  readonly sleepsMs: readonly number[];
}

export interface Pass {
  readonly turnsPerSecond: number;
  /** Of this process. */
  readonly cpuMsPerTurn: number;
}

/** 5 to 35 ms, the same in every run; `times` as long for turns that are more like those of a model. */
export function sleeps(count: number, times = 1): number[] {
  let seed = 42;
  return Array.from({ length: count }, () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return times * (5 + (seed % 31));
  });
}

/** Feeds both ways alike: the turns of a conversation in order, all conversations at once. Resolves when all were added. */
export async function feed(
  { conversations, sleepsMs }: Load,
  add: (conversation: number, turn: number) => Promise<unknown>,
): Promise<void> {
  const ofConversation = async (conversation: number) => {
    for (let turn = conversation; turn < sleepsMs.length; turn += conversations)
      await add(conversation, turn);
  };
  await Promise.all(Array.from({ length: conversations }, (_, conversation) => ofConversation(conversation)));
}

export async function timed(turns: number, work: () => Promise<void>): Promise<Pass> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { turnsPerSecond: turns / (ms / 1_000), cpuMsPerTurn: (user + system) / 1_000 / turns };
}

/** `done` resolves when `one` was called so often. */
export function countdown(times: number): { readonly done: Promise<void>; readonly one: () => void } {
  let left = times;
  let finish: () => void = () => undefined;
  const done = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const one = () => {
    left -= 1;
    if (left === 0) finish();
  };
  return { done, one };
}
