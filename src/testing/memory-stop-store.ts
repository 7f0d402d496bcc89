import type { OpenStop, StopStore } from '../ports/stop-store.ts';
import type { Clock } from '../timing/clock.ts';
import type { RunState, StopRef } from '../turn/stored-turn.ts';
import { checkId, stored } from './memory-ids.ts';
import type { MemoryTurns } from './memory-turns.ts';

/** StopStore in memory: what is open stands on the turn that left it. */
export class MemoryStopStore implements StopStore {
  readonly #turns: MemoryTurns;
  readonly #clock: Clock;

  constructor(turns: MemoryTurns, clock: Clock) {
    this.#turns = turns;
    this.#clock = clock;
  }

  async open({
    turnId,
    conversationId,
    sessionId,
    limit,
  }: Parameters<StopStore['open']>[0]): Promise<readonly OpenStop[]> {
    const isWanted = (wanted: string | undefined, is: string) => wanted === undefined || wanted === is;
    return this.#turns.all
      .map(({ turn }) => turn)
      .filter(({ run }) => run.stopTriedAt !== undefined)
      .filter((turn) => isWanted(turnId, turn.id) && isWanted(conversationId, turn.conversationId))
      .filter(
        ({ run }) => sessionId === undefined || run.openStops?.some((stop) => stop.sessionId === sessionId),
      )
      .sort((a, b) => (a.run.stopTriedAt ?? 0) - (b.run.stopTriedAt ?? 0))
      .slice(0, limit)
      .map((turn) => ({
        turnId: turn.id,
        conversationId: turn.conversationId,
        stops: stored(turn.run.openStops ?? []),
        since: turn.finishedAt ?? turn.run.promptedAt ?? turn.createdAt,
      }));
  }

  async tried(turnId: string): Promise<void> {
    this.#change(turnId, (run) =>
      run.stopTriedAt === undefined ? run : { ...run, stopTriedAt: this.#clock.now() },
    );
  }

  async close(turnId: string, stop?: StopRef): Promise<void> {
    this.#change(turnId, ({ openStops = [], stopTriedAt, ...run }) => {
      const left = openStops.filter(({ promptMessageId }) => promptMessageId !== stop?.promptMessageId);
      return left.length === 0 || stopTriedAt === undefined ? run : { ...run, openStops: left, stopTriedAt };
    });
  }

  #change(turnId: string, change: (run: RunState) => RunState): void {
    const found = this.#turns.find(checkId(turnId, 'turnId'));
    if (found) found.turn = { ...found.turn, run: change(found.turn.run) };
  }
}
