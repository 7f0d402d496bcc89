import { InvalidInputError } from '../errors.ts';
import type { InputAnswer, InputRequest, PermissionReply } from './stored-turn.ts';

/** As upstream sent it: nothing of it is sure to be there. */
interface Question {
  readonly options?: unknown;
  readonly multiple?: unknown;
  readonly custom?: unknown;
}

/** What may be replied to a permission under a policy; `always` crosses conversations and has to be allowed knowingly. */
export function offeredReplies({ allowAlways }: { readonly allowAlways: boolean }): PermissionReply[] {
  return allowAlways ? ['once', 'always', 'reject'] : ['once', 'reject'];
}

/**
 * Throws InvalidInputError that names the field when the answer is none to this request: another kind, another number
 * of answers than questions, more than one option where one is asked, one twice, one that was not offered where
 * nothing of one's own may be said, or a reply that is not offered. Pure. A request never changes, so what fits once fits for ever.
 */
export function checkFits({ kind, details, replies }: InputRequest, answer: InputAnswer): void {
  if (answer.kind === 'reject') return;
  if (answer.kind !== kind) refuse('kind', `must be "${kind}" or "reject": that is what is asked`);
  if (answer.kind === 'question') checkAnswers(questionsOf(details), answer.answers);
  if (answer.kind === 'permission') checkOffered(answer.reply, replies ?? offeredReplies(strict));
}

/** Whether `checkFits` takes it. */
export function fits(request: InputRequest, answer: InputAnswer): boolean {
  try {
    checkFits(request, answer);
    return true;
  } catch {
    return false;
  }
}

/** For what was stored without a word about it. */
const strict = { allowAlways: false };

function checkOffered(reply: PermissionReply, offered: readonly PermissionReply[]): void {
  if (!offered.includes(reply)) refuse('reply', `must be one of ${offered.join(', ')}`);
}

function checkAnswers(questions: readonly Question[], answers: readonly (readonly string[])[]): void {
  if (answers.length !== questions.length)
    refuse('answers', `must hold one list for each of the ${questions.length} questions`);
  for (const [at, question] of questions.entries()) checkChosen(`answers.${at}`, question, answers[at] ?? []);
}

/** Upstream's defaults: one option, and an answer of one's own is welcome (OpenCode 1.18). */
function checkChosen(
  field: string,
  { options, multiple, custom }: Question,
  chosen: readonly string[],
): void {
  if (multiple !== true && chosen.length > 1) refuse(field, 'must hold one answer at most');
  if (new Set(chosen).size < chosen.length) refuse(field, 'must not hold the same answer twice');
  const offered = (Array.isArray(options) ? options : []).map((option) => option?.label);
  const other = custom === false ? chosen.findIndex((label) => !offered.includes(label)) : -1;
  if (other >= 0) refuse(`${field}.${other}`, 'must be one of the options that are offered');
}

function questionsOf({ questions }: InputRequest['details']): readonly Question[] {
  return Array.isArray(questions) ? questions.map((question) => question ?? {}) : [];
}

function refuse(field: string, problem: string): never {
  throw new InvalidInputError(`answer.${field}`, problem);
}
