import type { RunState, StoredTurn, TurnPhase } from './stored-turn.ts';

const prompt = ['sessionId', 'server', 'directory', 'promptMessageId', 'promptPartId'] as const;

/** What a pending turn that stands in a phase must have stored, and what it can't have yet. */
const phases: Readonly<
  Record<TurnPhase, { readonly has: readonly string[]; readonly lacks: readonly string[] }>
> = {
  queued: { has: [], lacks: ['promptMessageId', 'promptPartId'] },
  prompting: { has: prompt, lacks: [] },
  prompted: { has: prompt, lacks: [] },
  finalizing: { has: prompt, lacks: [] },
  // Nobody writes it without a terminal status, and such a turn is not claimed.
  finished: { has: ['status other than pending'], lacks: [] },
};

const times = [
  'claimedAt',
  'startedAt',
  'awaySince',
  'promptedAt',
  'firstTokenAt',
  'lostPromptedAt',
  'cancelRequestedAt',
] as const;

/**
 * Why a claimed turn makes no sense as it is stored, or undefined. A turn whose phase and ids contradict each other
 * says nothing about what upstream has: whatever is done next may be a second prompt. Pure.
 */
export function corruption({ run, userText, uploads, damaged }: StoredTurn): string | undefined {
  if (damaged !== undefined) return `${damaged} cannot be read`;
  const known = typeof run.phase === 'string' && Object.hasOwn(phases, run.phase);
  const phase = known ? phases[run.phase] : undefined;
  if (!phase) return `run.phase is ${shown(run.phase)}`;
  const fields = run as unknown as Readonly<Record<string, unknown>>;
  const filled = (name: string) => typeof fields[name] === 'string' && fields[name] !== '';
  const missing = phase.has.find((name) => !filled(name));
  if (missing) return `run.phase is ${run.phase}, and there is no ${missing}`;
  const early = phase.lacks.find((name) => fields[name] !== undefined);
  if (early) return `run.phase is ${run.phase}, and there is a ${early}`;
  const odd = times.find((name) => fields[name] !== undefined && !Number.isFinite(fields[name]));
  if (odd) return `run.${odd} is no time`;
  const count = (['epoch', 'reruns', 'resends'] as const).find((name) => !isCount(run[name]));
  if (count) return `run.${count} is no count`;
  // A turn has a text or files; what has neither has lost its user's message.
  if (userText === '' && uploads.length === 0) return 'the message of the user is gone';
  return undefined;
}

const shown = (value: unknown) =>
  typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : typeof value;

const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;

/** What is left of such a turn to end it with: nothing that leads upstream. */
export function withoutRun({ run, ...turn }: StoredTurn): StoredTurn {
  const { epoch, claimedAt } = run;
  const known = Number.isFinite(claimedAt) ? { claimedAt } : {};
  return {
    ...turn,
    requests: [],
    run: { phase: 'queued', epoch, reruns: 0, resends: 0, ...known } as RunState,
  };
}
