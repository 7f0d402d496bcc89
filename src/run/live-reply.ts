import { FollowerFeed } from '../live/feed.ts';
import type { Part } from '../reply/part.ts';
import { Reply } from '../reply/reply.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import { viewOf } from '../turn/stored-view.ts';
import { Autosave } from './autosave.ts';
import type { TurnDeps } from './deps.ts';
import type { Ownership } from './ownership.ts';

type Deps = Pick<TurnDeps, 'publisher' | 'store' | 'clock' | 'reporter' | 'tracer' | 'meter'>;

/** The reply of one run while it grows, with all who are kept informed: followers, and the stored turn. */
export class LiveReply {
  readonly followers: FollowerFeed;
  readonly autosave: Autosave;
  readonly #deps: Deps;
  readonly #turn: StoredTurn;
  readonly #own: Ownership;
  #reply: Reply | undefined;
  #published: readonly Part[] = [];
  #firstTokenAt: number | undefined;
  #movedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: Deps, turn: StoredTurn, own: Ownership) {
    this.#deps = deps;
    this.#turn = turn;
    this.#own = own;
    this.#firstTokenAt = turn.run.firstTokenAt;
    this.followers = new FollowerFeed({
      publisher: deps.publisher,
      fence: own.fence,
      clock: deps.clock,
      reporter: deps.reporter,
      view: viewOf(turn),
      parts: () => this.parts,
      onOwnershipLost: (error) => own.lose(error),
    });
    this.autosave = new Autosave({ deps, own, live: this });
  }

  /** Undefined until the prompt has ids. */
  get reply(): Reply | undefined {
    return this.#reply;
  }

  get parts(): readonly Part[] {
    return this.#reply?.result().parts ?? this.#turn.parts;
  }

  /** What an owner before us had published; empty for a fresh turn, and when nobody knows. */
  get published(): readonly Part[] {
    return this.#published;
  }

  /** When the first output was seen, by whichever owner. */
  get firstTokenAt(): number | undefined {
    return this.#firstTokenAt;
  }

  /** Output was seen. */
  noteOutput(): void {
    this.#firstTokenAt ??= this.#own.now();
  }

  /** When the model's run was heard to move last, on the monotonic clock. */
  get movedAt(): number {
    return this.#movedAt;
  }

  /** The model's run was heard to move. */
  noteMove(at: number): void {
    this.#movedAt = at;
  }

  /** Takes the followers' stream over, from the owner before us if there was one. Throws OwnershipLostError. */
  async open(): Promise<void> {
    const adopted = this.#turn.run.phase !== 'queued';
    if (adopted) {
      this.#published = (await this.followers.open()) ?? this.#turn.parts;
      this.#deps.tracer.event('turn.adopted', { 'turn.epoch': this.#own.fence.epoch });
      this.#deps.meter.add('opencode_turns.adopted', 1, { 'turn.policy': this.#turn.policy });
    } else {
      this.followers.begin();
    }
    this.followers.add({ type: 'progress', progress: adopted ? 'adopted' : 'started' });
  }

  /** A new, empty reply to this prompt, in place of the one before. */
  restart({ sessionId, promptMessageId }: PromptIds): Reply {
    const { reporter } = this.#deps;
    this.#reply = new Reply({ sessionId, promptMessageId, reporter });
    return this.#reply;
  }

  async close(): Promise<void> {
    await this.autosave.close();
    await this.followers.close();
  }
}
