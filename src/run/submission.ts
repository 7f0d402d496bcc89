import type { TurnConversation } from '../turn/conversation.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import { type PromptIds, stopRefOf } from '../turn/phase.ts';
import type { PromptedWith, SessionRef, StopRef, StoredTurn } from '../turn/stored-turn.ts';

/** Where the prompt of one turn is, as this owner knows it: its ids, its session, and how often it was sent. */
export class Submission {
  #ids: PromptIds | undefined;
  #session: SessionRef | undefined;
  #rules: Promise<readonly PermissionRule[]> | undefined;
  #system: Promise<string | undefined> | undefined;
  #promptedWith: PromptedWith | undefined;
  #posted = false;
  #postedOver: number | undefined;
  #reruns: number;
  #resends: number;
  #userFiles: ReadonlySet<string>;
  readonly #openStops: StopRef[];

  constructor({ run, promptedWith }: StoredTurn, { session }: TurnConversation) {
    this.#promptedWith = promptedWith;
    this.#session = session;
    this.#reruns = run.reruns;
    this.#resends = run.resends;
    this.#userFiles = new Set(run.uploadNames);
    this.#openStops = [...(run.openStops ?? [])];
  }

  /** Undefined until something of the turn may be upstream. */
  get ids(): PromptIds | undefined {
    return this.#ids;
  }

  /** This owner has posted a prompt, whatever came of it. */
  get posted(): boolean {
    return this.#posted;
  }

  /** The conversation's session, as this owner knows it. */
  get session(): SessionRef | undefined {
    return this.#session;
  }

  /** What is stored of what the model is given. */
  get promptedWith(): PromptedWith | undefined {
    return this.#promptedWith;
  }

  get reruns(): number {
    return this.#reruns;
  }

  get resends(): number {
    return this.#resends;
  }

  /** Names in the agent's directory that are the user's own files. */
  get userFiles(): ReadonlySet<string> {
    return this.#userFiles;
  }

  /** Runs that this turn has aborted and not seen to end. */
  get openStops(): readonly StopRef[] {
    return this.#openStops;
  }

  /** The prompt is upstream under these ids. */
  isAt(ids: PromptIds): void {
    this.#ids = ids;
  }

  /** From here on it may be upstream: a cancel that cuts the POST has that run to stop, too. */
  posting(ids: PromptIds): void {
    this.#ids = ids;
    this.#posted = true;
  }

  /** Stored: the model is given this. */
  isWith(promptedWith: PromptedWith): void {
    this.#promptedWith = promptedWith;
  }

  uses(session: SessionRef): void {
    this.#session = session;
  }

  /** One that an owner before us has begun, and did not come to post, is counted already: never above `max`. */
  countRerun(max: number, postedOver: number | undefined): number {
    this.#postedOver = postedOver;
    this.#reruns = Math.min(this.#reruns + 1, max);
    return this.#reruns;
  }

  /** When upstream had got the prompt whose run was lost, by its clock, once this owner has posted it again. */
  get postedOver(): number | undefined {
    return this.#postedOver;
  }

  countResend(): number {
    this.#resends += 1;
    return this.#resends;
  }

  keepUserFiles(names: Iterable<string>): void {
    this.#userFiles = new Set(names);
  }

  /** What the policy allows the agent: asked once for all prompts of this owner, unless asking failed. */
  rulesOnce(ask: () => Promise<readonly PermissionRule[]>): Promise<readonly PermissionRule[]> {
    this.#rules ??= ask().catch((error) => {
      this.#rules = undefined;
      throw error;
    });
    return this.#rules;
  }

  /** The policy's system text, likewise. */
  systemOnce(ask: () => Promise<string | undefined>): Promise<string | undefined> {
    this.#system ??= ask().catch((error) => {
      this.#system = undefined;
      throw error;
    });
    return this.#system;
  }

  /** The run of this prompt may go on: noted once, and stored by whoever writes next. */
  leaveOpen(ids: PromptIds): void {
    if (!this.isLeftOpen(ids)) this.#openStops.push(stopRefOf(ids));
  }

  isLeftOpen({ promptMessageId }: PromptIds): boolean {
    return this.#openStops.some((open) => open.promptMessageId === promptMessageId);
  }
}
