import { LeaseLostError } from '../errors.ts';
import type { Reply } from '../reply/reply.ts';
import type { FollowerFeed } from './follower-feed.ts';
import type { Fence } from './ports.ts';
import { boundedPart } from './stored-part.ts';
import type { TurnPatch } from './stored-turn.ts';
import type { TurnDeps } from './turn-deps.ts';

/** The least time between two snapshots of one turn. */
const intervalMs = 2_000;

/** The run, as a snapshot needs it. */
export interface SnapshotSource {
  readonly deps: Pick<TurnDeps, 'store' | 'clock' | 'reporter'>;
  readonly fence: Fence;
  readonly reply: Reply | undefined;
  readonly followers: Pick<FollowerFeed, 'cursor'>;
  readonly firstTokenAt: number | undefined;
  stop(reason: 'lease-lost', detail: undefined, cause: unknown): void;
}

/**
 * Stores the reply as it grows, so that `get` and a late follower see it. At most one write per interval and
 * one under way; a slow database makes snapshots rarer, never the turn slower. A snapshot that fails is left
 * to the next one: the terminal write does not depend on it.
 */
export class Snapshot {
  readonly #run: SnapshotSource;
  #cancelTimer: (() => void) | undefined;
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(run: SnapshotSource) {
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

  /** What is to be stored now. The cursor is read first: parts may be newer than it, never older. */
  patch(): TurnPatch {
    const { reply, followers, firstTokenAt } = this.#run;
    const cursor = followers.cursor;
    const run = {
      ...(cursor > 0 ? { cursor } : {}),
      ...(firstTokenAt === undefined ? {} : { firstTokenAt }),
    };
    if (!reply) return { run };
    const { parts, fullText, reasoningText } = reply.result();
    return {
      run,
      content: fullText,
      reasoning: reasoningText,
      parts: parts.map(boundedPart),
      usage: reply.usage(),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer?.();
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { deps, fence } = this.#run;
    try {
      await deps.store.write(fence, this.patch());
    } catch (error) {
      if (error instanceof LeaseLostError) this.#run.stop('lease-lost', undefined, error);
      else
        deps.reporter.report(error, { action: 'turn.snapshot', severity: 'warning', turnId: fence.turnId });
    }
  }
}
