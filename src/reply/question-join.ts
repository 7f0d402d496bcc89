import type { ToolPart } from './part.ts';
import { isTerminal } from './tool-part.ts';
import type { WireQuestion } from './wire.ts';

/**
 * Joins what was asked to the tool part of the same call, whichever of the two comes first: the questions, when
 * the part has none of its own, and the id to answer them by while they may still be answered.
 */
export class QuestionJoin {
  readonly #byCall = new Map<string, WireQuestion>();

  /** False when the call is known to ask this already, or the question belongs to no call. */
  asked(question: WireQuestion): boolean {
    const callId = question.tool?.callID;
    if (callId === undefined || this.#byCall.get(callId)?.id === question.id) return false;
    this.#byCall.set(callId, question);
    return true;
  }

  dress(part: ToolPart): ToolPart {
    const question = this.#byCall.get(part.callId);
    if (!question) return part;
    const input = { ...part.input, questions: part.input.questions ?? question.questions };
    if (isTerminal(part)) return { ...part, input };
    return { ...part, input, metadata: { ...part.metadata, requestId: question.id } };
  }
}
