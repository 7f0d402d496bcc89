import { z } from 'zod';
import { wellFormed } from '../checking/well-formed.ts';
import { InvalidInputError } from '../errors.ts';
import type { InputAnswer } from '../turn/stored-turn.ts';

/** Refuses what cannot be a turn's id before any database sees it. */
export function checkTurnId(value: unknown): string {
  if (typeof value === 'string' && /^[0-9a-f]{24}$/.test(value)) return value;
  throw new InvalidInputError('turnId', 'must be the id that enqueue returned: a string of 24 hex digits');
}

export function checkRequestId(value: unknown): string {
  if (typeof value === 'string' && /^(que|per)[\w-]{1,100}$/.test(value)) return value;
  throw new InvalidInputError('requestId', "must be the requestId of one of the turn's requests");
}

const text = z.string().max(10_000).transform(wellFormed);
/** All texts of one answer together, in UTF-16 units: it is stored with the turn. */
const maxAnswerLength = 100_000;

const answerSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('question'), answers: z.array(z.array(text).max(50)).min(1).max(50) }),
  z.strictObject({
    kind: z.literal('permission'),
    reply: z.enum(['once', 'always', 'reject']),
    message: text.optional(),
  }),
  z.strictObject({ kind: z.literal('reject') }),
]);

/** Whether it is an answer at all, and of what size; `checkFits` says whether it is one to what was asked. */
export function checkAnswer(value: unknown): InputAnswer {
  const parsed = answerSchema.safeParse(value);
  if (parsed.success) return checkLength(parsed.data as InputAnswer);
  const issue = parsed.error.issues[0];
  throw new InvalidInputError(['answer', ...(issue?.path ?? [])].join('.'), issue?.message ?? 'is no answer');
}

function checkLength(answer: InputAnswer): InputAnswer {
  const texts = answer.kind === 'question' ? answer.answers.flat() : [];
  if (texts.reduce((sum, { length }) => sum + length, 0) <= maxAnswerLength) return answer;
  throw new InvalidInputError('answer', `must hold ${maxAnswerLength} characters at most in all`);
}
