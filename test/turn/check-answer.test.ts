import { describe, expect, it } from '@jest/globals';
import { InvalidInputError } from '../../src/errors.ts';
import { checkFits } from '../../src/turn/check-answer.ts';
import type { InputAnswer, InputRequest } from '../../src/turn/stored-turn.ts';

const asked = (kind: InputRequest['kind'], request: InputRequest['details']): InputRequest => ({
  requestId: 'que_1',
  kind,
  sessionId: 'ses_1',
  details: request,
  askedAt: 1,
  state: 'open',
});
const options = [{ label: 'Blue' }, { label: 'Red' }];
const question = (more: object) =>
  asked('question', { questions: [{ question: 'q', header: 'h', options, ...more }] });
const chosen = (...labels: string[]): InputAnswer => ({ kind: 'question', answers: [labels] });

/** The field that is refused; undefined when the answer fits. */
function refused(prompt: InputRequest, answer: InputAnswer): string | undefined {
  try {
    checkFits(prompt, answer);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidInputError);
    return (error as InvalidInputError).field;
  }
}

describe('an answer to a question', () => {
  it.each([
    ['may be of one\u2019s own unless that is ruled out', {}, chosen('Green'), undefined],
    ['may be none', {}, chosen(), undefined],
    [
      'must be one that is offered where nothing else may be said',
      { custom: false },
      chosen('Green'),
      'answer.answers.0.0',
    ],
    [
      'names the one that is not',
      { custom: false, multiple: true },
      chosen('Red', 'Green'),
      'answer.answers.0.1',
    ],
    ['may be one that is offered', { custom: false }, chosen('Red'), undefined],
    ['is one', {}, chosen('Red', 'Blue'), 'answer.answers.0'],
    ['may be several where several are asked', { multiple: true }, chosen('Red', 'Blue'), undefined],
    ['names each once', { multiple: true }, chosen('Red', 'Red'), 'answer.answers.0'],
    ['may be a refusal', { custom: false }, { kind: 'reject' } as const, undefined],
    ['is not one to a permission', {}, { kind: 'permission', reply: 'once' } as const, 'answer.kind'],
  ])('%s', (_name, more, answer, field) => {
    expect(refused(question(more), answer)).toBe(field);
  });

  it('is one list for each question, however odd the request is', () => {
    const two = asked('question', { questions: [{ options: [null, 5] }, null] });
    expect(refused(two, chosen('Red'))).toBe('answer.answers');
    expect(refused(two, { kind: 'question', answers: [['Red'], ['x']] })).toBeUndefined();
    expect(refused(asked('question', {}), chosen('Red'))).toBe('answer.answers');
  });
});

it('an answer to a permission is none to a question', () => {
  const permission = asked('permission', { permission: 'bash', patterns: ['*'] });
  expect(refused(permission, chosen('once'))).toBe('answer.kind');
  expect(refused(permission, { kind: 'permission', reply: 'once' })).toBeUndefined();
  expect(refused(permission, { kind: 'reject' })).toBeUndefined();
});

it('a reply to a permission is one that is offered; without a word about it, `always` is none', () => {
  const permission = asked('permission', { permission: 'bash', patterns: ['*'] });
  const always = { kind: 'permission', reply: 'always' } as const;
  expect(refused(permission, always)).toBe('answer.reply');
  expect(refused({ ...permission, replies: ['once', 'reject'] }, always)).toBe('answer.reply');
  expect(refused({ ...permission, replies: ['once', 'always', 'reject'] }, always)).toBeUndefined();
});
