import { askingCall, callKey } from './call-key.ts';
import type { OpenRequests } from './open-requests.ts';
import type { ToolPart } from './part.ts';
import type { ReplyObservers } from './reply-observer.ts';
import { isTerminal } from './tool-part.ts';
import type { WirePermission, WireQuestion } from './wire.ts';

/**
 * The tool calls of a turn that ask a person. Joins what was asked to the tool part of the same call, whichever
 * of the two comes first: the questions, when the part has none of its own, and the id to answer them by while
 * they may still be answered. Tells observers when a request opens and how it ends.
 */
export class AskingCalls {
  readonly #requests: OpenRequests;
  readonly #observers: ReplyObservers;
  readonly #questions = new Map<string, WireQuestion>();

  constructor(requests: OpenRequests, observers: ReplyObservers) {
    this.#requests = requests;
    this.#observers = observers;
  }

  /** Returns the call (`callKey`) whose part has to be shown anew, if it is news and belongs to one. */
  question(request: WireQuestion): string | undefined {
    if (this.#requests.open({ kind: 'question', request })) this.#observers.tell('questionAsked', request);
    const call = askingCall(request);
    if (call === undefined || this.#questions.get(call)?.id === request.id) return undefined;
    this.#questions.set(call, request);
    return call;
  }

  permission(request: WirePermission): void {
    if (this.#requests.open({ kind: 'permission', request })) {
      this.#observers.tell('permissionAsked', request);
    }
  }

  questionEnded(requestId: string, how: 'questionReplied' | 'questionRejected'): void {
    if (this.#requests.close(requestId)) this.#observers.tell(how, requestId);
  }

  permissionEnded(requestId: string, reply: string): void {
    if (this.#requests.close(requestId)) this.#observers.tell('permissionReplied', requestId, reply);
  }

  /** An abort ends a call without a word about its request, which upstream keeps though it has expired. */
  seen(part: ToolPart): void {
    const requestId = isTerminal(part) ? this.#requests.byCall(callKey(part))?.request.id : undefined;
    if (requestId !== undefined && this.#requests.close(requestId)) {
      this.#observers.tell('requestGone', requestId);
    }
  }

  dress(part: ToolPart): ToolPart {
    const question = this.#questions.get(callKey(part));
    if (!question) return part;
    const input = { ...part.input, questions: part.input.questions ?? question.questions };
    if (isTerminal(part)) return { ...part, input };
    return { ...part, input, metadata: { ...part.metadata, requestId: question.id } };
  }
}
