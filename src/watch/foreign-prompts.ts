import { ForeignPromptError } from '../errors.ts';
import type { Exchange } from '../reply/exchange.ts';
import type { TurnRun } from '../run/turn-run.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'deps' | 'turn'>;

/** Tells once of each message that somebody else has prompted the turn's session with. */
export class ForeignPrompts {
  readonly #run: Run;
  readonly #told = new Set<string>();

  constructor(run: Run) {
    this.#run = run;
  }

  seen({ foreign }: Exchange): void {
    const { deps, turn } = this.#run;
    for (const { info } of foreign) {
      if (this.#told.has(info.id)) continue;
      this.#told.add(info.id);
      deps.tracer.event('opencode.session.foreign_prompt');
      const error = new ForeignPromptError(info.sessionID, info.id);
      deps.reporter.report(error, { action: 'turn.poll', severity: 'warning', turnId: turn.id });
    }
  }
}
