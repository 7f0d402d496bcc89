import { HeldBack, type PartEvent } from './held-back.ts';
import { ModelRequests } from './model-requests.ts';
import type { Part } from './part.ts';
import { PartList, type ToolHooks } from './part-list.ts';
import type { ReplyObservers } from './reply-observer.ts';
import { type MessageKind, TurnMessages } from './turn-messages.ts';
import type { WireMessage, WireMessageInfo, WirePart } from './wire.ts';

interface SessionPartsOptions {
  /** Absent for the session of a sub-agent: all of its assistant messages belong. */
  readonly promptMessageId?: string;
  readonly observers: ReplyObservers;
  readonly hooks: ToolHooks;
  /** A part of the turn's own messages, or of a compaction within it, that ends a step. */
  readonly stepFinished: (part: WirePart) => void;
  /** One more request to the model has begun; they are counted already. */
  readonly requestBegan: (requests: ModelRequests) => void;
}

/**
 * What one session says within a turn: which of its messages belong, and their parts. Parts may come before
 * their message; they wait, bounded, and lose nothing but their live growth.
 */
export class SessionParts {
  readonly #list: PartList;
  readonly #messages: TurnMessages;
  readonly #heldBack = new HeldBack();
  readonly #options: SessionPartsOptions;
  readonly #requests = new ModelRequests();
  #answered = false;

  constructor(options: SessionPartsOptions) {
    this.#list = new PartList(options.observers, options.hooks);
    this.#messages = new TurnMessages(options.promptMessageId);
    this.#options = options;
  }

  get list(): PartList {
    return this.#list;
  }

  get requests(): ModelRequests {
    return this.#requests;
  }

  /** An assistant message of the turn is known. */
  get answered(): boolean {
    return this.#answered;
  }

  /** Undefined while nobody knows. */
  kind(messageId: string): MessageKind | undefined {
    return this.#messages.kind(messageId);
  }

  /** True when the message is part of the answer. */
  message(info: WireMessageInfo): boolean {
    this.#messages.learn(info);
    const kind = this.#messages.kind(info.id);
    const answers = kind === 'answer';
    this.#answered ||= answers;
    if (kind === 'answer' || kind === 'summary') this.#began(info.id);
    this.#replay();
    return answers;
  }

  part(part: WirePart): void {
    const kind = this.#messages.learnPart(part);
    if (kind === undefined) this.#wait({ kind: 'part', part });
    else if (kind !== 'other') this.#update(part, kind);
    // A part of a user message may be the one that tells who wrote it, and so decides about those that wait.
    else {
      this.#noteAsker(part.messageID);
      this.#replay();
    }
  }

  delta(messageId: string, partId: string, delta: string): void {
    const kind = this.#messages.kind(messageId);
    if (kind === 'answer') this.#list.grow(partId, messageId, delta);
    else if (kind === undefined) this.#wait({ kind: 'delta', messageId, partId, delta });
  }

  removePart(partId: string): void {
    this.#list.remove(partId);
  }

  removeMessage(messageId: string): void {
    this.#messages.forget(messageId);
    this.#list.removeMessage(messageId);
  }

  /** Takes over polled messages; what waited for them is decided now. */
  sync(messages: readonly WireMessage[], kindOf: (messageId: string) => MessageKind | undefined): void {
    for (const { info, parts } of messages) {
      this.#messages.learn(info);
      for (const part of parts) this.#messages.learnPart(part);
      const kind = kindOf(info.id);
      if (kind) this.#messages.decide(info.id, kind);
    }
    for (const { info, parts } of messages) {
      const kind = this.#messages.kind(info.id);
      this.#answered ||= kind === 'answer';
      this.#noteAsker(info.id);
      if (kind === 'answer' || kind === 'summary') this.#began(info.id);
      const final = info.time.completed !== undefined;
      for (const part of parts) if (kind) this.#update(part, kind, final);
    }
    this.#replay();
  }

  reset(parts: readonly Part[]): void {
    this.#list.reset(parts);
  }

  #update(part: WirePart, kind: MessageKind, final = false): void {
    if (kind === 'other') return;
    if (part.type === 'step-start') this.#began(part.messageID, part.id);
    if (part.type === 'tool') this.#requests.calledTool(part.messageID);
    if (part.type === 'step-finish') this.#options.stepFinished(part);
    else if (kind === 'answer') this.#list.update(part, final);
  }

  #began(messageId: string, stepId?: string): void {
    const news =
      stepId === undefined ? this.#requests.began(messageId) : this.#requests.stepBegan(messageId, stepId);
    if (news) this.#options.requestBegan(this.#requests);
  }

  /** A turn is asked for once; what is said in its own session after that is upstream's or somebody else's. */
  #noteAsker(messageId: string): void {
    const { promptMessageId } = this.#options;
    if (promptMessageId === undefined && this.#messages.isPersons(messageId)) this.#requests.asked(messageId);
  }

  #wait(event: PartEvent): void {
    if (!this.#heldBack.add(event)) this.#list.tear();
  }

  #replay(): void {
    for (const event of this.#heldBack.take()) {
      if (event.kind === 'part') this.part(event.part);
      else this.delta(event.messageId, event.partId, event.delta);
    }
  }
}
