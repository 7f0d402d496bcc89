import { expect, it } from '@jest/globals';
import { decodeEvent } from '../../../src/opencode/v1/decode.ts';
import { OwnEvents } from '../../../src/opencode/v1/own-events.ts';
import { Exchange } from '../../../src/reply/exchange.ts';
import { recording, recordings } from '../../support/recordings.ts';

const sessionID = 'ses_own';
const prompt = 'msg_own';
const ids = {
  sessionId: sessionID,
  server: '',
  directory: '',
  promptMessageId: prompt,
  promptPartId: 'prt_own',
};
const absent = Exchange.from([], prompt);
const stored = Exchange.from(
  [{ info: { id: prompt, sessionID, role: 'user', time: { created: 1 } }, parts: [] }],
  prompt,
);

const event = (type: string, properties: object) =>
  decodeEvent({ type, properties: { sessionID, ...properties } });
const error = (name: string, more = {}) =>
  event('session.error', { error: { name, data: { message: name } }, ...more });
const busy = event('session.status', { status: { type: 'busy' } });
const idle = event('session.status', { status: { type: 'idle' } });
const message = (id: string, more = {}) =>
  event('message.updated', { info: { id, sessionID, role: 'user', time: { created: 1 }, ...more } });
const names = {
  'the prompt': message(prompt),
  'a part of the prompt': event('message.part.updated', {
    part: { id: 'prt_own', sessionID, messageID: prompt, type: 'text' },
  }),
  'its answer': message('msg_answer', { role: 'assistant', parentID: prompt }),
};

function heard(events: readonly ReturnType<typeof decodeEvent>[], named = false) {
  const turn = new OwnEvents(ids, named);
  const taken = events.map((each) => turn.take(each));
  return { turn, taken, ended: (exchange = stored) => turn.errorOf(exchange)?.name };
}

it.each(Object.entries(names))('are those from the first on that names %s', (_name, first) => {
  const { taken, ended } = heard([message('msg_before'), error('Late'), idle, first, idle]);
  expect(taken).toEqual([false, false, false, true, true]);
  expect(ended()).toBeUndefined();
});

it('have an error when it comes after that, until the session runs', () => {
  expect(heard([message(prompt), error('Own'), idle]).ended()).toBe('Own');
  expect(heard([message(prompt), error('File not found'), busy]).ended()).toBeUndefined();
  expect(heard([message(prompt), error('Own'), error('MessageAbortedError')]).ended()).toBe('Own');
});

it('have no error of a sub-agent, nor one that names no session', () => {
  expect(heard([message(prompt), error('Theirs', { sessionID: 'ses_child' })]).ended()).toBeUndefined();
  expect(heard([message(prompt), error('Nobody’s', { sessionID: undefined })]).ended()).toBeUndefined();
});

it('have any error when upstream has refused the prompt, and it is named by nothing', () => {
  const { ended } = heard([error('Unknown agent')]);
  expect([ended(absent), ended(stored)]).toEqual(['Unknown agent', undefined]);
});

it('are all, for a later owner and after a gap', () => {
  expect(heard([error('Own')], true)).toMatchObject({ taken: [true] });
  const { turn, ended } = heard([error('Late')]);
  turn.gap();
  expect(ended(absent)).toBeUndefined();
  expect(turn.take(error('Own'))).toBe(true);
  expect(ended()).toBe('Own');
});

/** Some recordings begin in the middle of their first turn. */
const whole = recordings.filter(({ events }) => events.some(({ type }) => type === 'session.created'));

it.each(whole.map(({ name }) => name))('are all that a recording tells of its first turn: %s', (name) => {
  const { events, prompts, sessionId } = recording(name);
  const turn = new OwnEvents({ ...ids, sessionId, promptMessageId: prompts[0] ?? '' }, false);
  const left = events.filter((each) => !turn.take(decodeEvent(each)));
  expect(left.length).toBeLessThan(events.length);
  expect(left.filter(({ type }) => /^(message|question|permission)|status|idle|error/.test(type))).toEqual(
    [],
  );
});

it('an error of the session that says nothing in words is one by its name', () => {
  const turn = new OwnEvents(ids, true);
  turn.take(
    event('session.error', { error: { name: 'Odd', data: { message: { text: 'x' }, statusCode: [] } } }),
  );
  expect(turn.errorOf(stored)).toMatchObject({ reason: 'upstream_error', name: 'Odd', detail: 'Odd' });
});
