import { publicFailure, type TurnEnd, type TurnView } from './entry.ts';
import type { StoredTurn } from './stored-turn.ts';

/** The stored turn as followers see it. */
export function viewOf(turn: StoredTurn): TurnView {
  const end = endOf(turn);
  return {
    status: turn.status,
    progress: end ? 'finished' : turn.run.phase === 'queued' ? 'queued' : 'prompted',
    parts: turn.parts,
    requests: turn.requests.map(({ answer: _answer, ...request }) => request),
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
    text: turn.text,
    ...(turn.error ? { error: publicFailure(turn.error) } : {}),
    ...(turn.notice ? { notice: turn.notice } : {}),
    ...(usage ? { usage } : {}),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(timeToFirstTokenMs === undefined ? {} : { timeToFirstTokenMs }),
  };
}
