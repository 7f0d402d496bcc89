import { type TurnEnd, type TurnView, toldFailure } from './entry.ts';
import type { StoredTurn } from './stored-turn.ts';

/** The stored turn as followers see it. */
export function viewOf(turn: StoredTurn): TurnView {
  const end = endOf(turn);
  return {
    status: turn.status,
    phase: end ? 'finished' : turn.run.phase === 'queued' ? 'queued' : 'prompted',
    parts: turn.parts,
    prompts: turn.prompts.map(({ answer: _answer, ...prompt }) => prompt),
    artifacts: turn.artifacts,
    ...(turn.usage ? { usage: turn.usage } : {}),
    ...(end ? { end } : {}),
  };
}

/** Undefined while the turn is pending. */
export function endOf(turn: StoredTurn): TurnEnd | undefined {
  if (turn.status === 'pending') return undefined;
  const { usage, durationMs, timeToFirstTokenMs } = turn;
  return {
    status: turn.status,
    text: turn.content,
    ...(turn.error ? { error: toldFailure(turn.error) } : {}),
    ...(turn.notice ? { notice: turn.notice } : {}),
    ...(usage ? { usage } : {}),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(timeToFirstTokenMs === undefined ? {} : { timeToFirstTokenMs }),
  };
}
