import { NewerVersionError, OwnershipLostError } from '../errors.ts';
import { Wakeup } from '../timing/wakeup.ts';
import type { TurnControl } from '../turn/stored-turn.ts';
import type { TurnRun } from './turn-run.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'defer' | 'deps' | 'own' | 'signal' | 'stopSwitch' | 'turn'>;

/** Without a notification the stored turn is read again after this time. */
const pollMs = 5_000;

/**
 * Reads what people ask of a running turn (cancel, answers) from the stored turn: at the start, after each
 * notification, and from time to time, since a notification may be lost. One read at a time; the database away only delays.
 */
export function watchControl(run: Run, onAnswers: (turn: TurnControl) => void): void {
  const { deps, turn } = run;
  const wakeup = new Wakeup(deps.clock);
  let ended = false;
  let away = false;
  run.defer(() => {
    ended = true;
    wakeup.wake();
  });
  run.defer(deps.notifier.listen(turn.id, () => wakeup.wake()));

  const read = async () => {
    const stored = await deps.store.control(turn.id);
    if (stored === null || ended) return;
    if (stored.run.epoch !== run.own.fence.epoch) throw new OwnershipLostError(turn.id, run.own.fence.epoch);
    if (stored.run.cancelRequestedAt !== undefined) run.stopSwitch.stop('user');
    onAnswers(stored);
  };

  const loop = async () => {
    while (!ended && !run.signal.aborted) {
      try {
        await read();
        away = false;
      } catch (error) {
        // A version is raised with a claim.
        if (error instanceof OwnershipLostError || error instanceof NewerVersionError) run.own.lose(error);
        // Once until it is back: a thousand turns would say it every five seconds.
        else if (!away)
          deps.reporter.report(error, { action: 'turn.control', severity: 'warning', turnId: turn.id });
        away = true;
      }
      await wakeup.wait(pollMs, run.signal).catch(() => undefined);
    }
  };
  void loop();
}
