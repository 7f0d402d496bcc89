import { within } from '../timing/time-limit.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import type { TurnDeps } from './deps.ts';
import type { LiveReply } from './live-reply.ts';
import type { Ownership } from './ownership.ts';
import { tellAfterMs } from './server-absence.ts';
import type { StopSwitch } from './stop-switch.ts';

/** How long it is tried to store that the server is away, or back. */
const noteMs = 30_000;

interface Told {
  readonly deps: Pick<TurnDeps, 'clock' | 'reporter'>;
  readonly turn: StoredTurn;
  readonly own: Ownership;
  readonly live: LiveReply;
  readonly stopSwitch: StopSwitch;
}

/** Since when the server is away, for whichever owner: told to followers, and stored for the next owner. Never throws. */
export class AwayNote {
  readonly #run: Told;
  #since: number | undefined;
  #storing = Promise.resolve();

  constructor(run: Told) {
    this.#run = run;
    this.#since = run.turn.run.awaySince;
  }

  /** How long it has been away, ms; undefined while it is not, for all that anybody has seen. */
  get awayForMs(): number | undefined {
    return this.#since === undefined ? undefined : this.#run.own.now() - this.#since;
  }

  /** It has been away for a second, also when that goes on from the owner before. */
  away(): void {
    this.#run.live.followers.setWaiting(true);
    if (this.#since !== undefined) return;
    this.#since = this.#run.own.now() - tellAfterMs;
    this.#store(this.#since);
  }

  back(): void {
    this.#run.live.followers.setWaiting(false);
    this.#since = undefined;
    this.#store(null);
  }

  /** One change after the other. */
  #store(awaySince: number | null): void {
    const { deps, own, turn, stopSwitch } = this.#run;
    const { signal } = stopSwitch;
    const store = () =>
      within(noteMs, (limit) => own.write({ run: { awaySince } }, limit), signal, deps.clock);
    this.#storing = this.#storing.then(store).catch((error) => {
      if (!signal.aborted)
        deps.reporter.report(error, { action: 'turn.away', severity: 'warning', turnId: turn.id });
    });
  }
}
