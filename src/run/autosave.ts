import { fittedParts, fittedText } from '../bounds/bounded-reply.ts';
import { byteBudget } from '../bounds/byte-budget.ts';
import { OwnershipLostError } from '../errors.ts';
import type { FollowerFeed } from '../live/feed.ts';
import type { Reply } from '../reply/reply.ts';
import type { TurnPatch } from '../turn/stored-turn.ts';
import type { TurnDeps } from './deps.ts';
import type { Ownership } from './ownership.ts';

/** The least time between two snapshots of one turn. */
const intervalMs = 2_000;

/** The run, as a snapshot needs it. */
export interface AutosaveSource {
  readonly deps: Pick<TurnDeps, 'store' | 'clock' | 'reporter'>;
  readonly own: Pick<Ownership, 'fence' | 'noteFailure'>;
  readonly live: {
    readonly reply: Reply | undefined;
    readonly followers: Pick<FollowerFeed, 'at'>;
    readonly firstTokenAt: number | undefined;
  };
}

/**
 * Stores the reply as it grows, so that `get` and a late follower see it. At most one write per interval and
 * one under way; a slow database makes snapshots rarer, never the turn slower. A snapshot that fails is left
 * to the next one: the terminal write does not depend on it. Only one that fails for its size, or for a newer owner,
 * ends the run.
 */
export class Autosave {
  readonly #run: AutosaveSource;
  #cancelTimer: (() => void) | undefined;
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(run: AutosaveSource) {
    this.#run = run;
  }

  /** The reply has changed; it will be stored within the interval. */
  touch(): void {
    if (this.#closed || this.#cancelTimer || this.#writing) return;
    this.#cancelTimer = this.#run.deps.clock.setTimer(intervalMs, () => {
      this.#cancelTimer = undefined;
      this.#writing = this.#write().finally(() => {
        this.#writing = undefined;
      });
    });
  }

  /** What is to be stored now. The place is read first: parts may be newer than it, never older. */
  patch(): TurnPatch {
    const { reply, followers, firstTokenAt } = this.#run.live;
    const { at } = followers;
    const run = {
      ...(at ? { cursor: at.number, stream: at.stream } : {}),
      ...(firstTokenAt === undefined ? {} : { firstTokenAt }),
    };
    if (!reply) return { run };
    const { parts } = reply.result();
    return {
      run,
      text: fittedText(parts, 'text', byteBudget.text),
      reasoning: fittedText(parts, 'reasoning', byteBudget.reasoning),
      parts: fittedParts(parts),
      usage: reply.usage(),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer?.();
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { deps, own } = this.#run;
    try {
      await deps.store.write(own.fence, this.patch());
    } catch (error) {
      own.noteFailure(error);
      if (!(error instanceof OwnershipLostError))
        deps.reporter.report(error, {
          action: 'turn.snapshot',
          severity: 'warning',
          turnId: own.fence.turnId,
        });
    }
  }
}
