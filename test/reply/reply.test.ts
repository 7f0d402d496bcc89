import { describe, expect, it, jest } from '@jest/globals';
import { Exchange } from '../../src/reply/exchange.ts';
import type { ToolPart } from '../../src/reply/part.ts';
import { Reply } from '../../src/reply/reply.ts';
import { Follower } from '../support/reply-log.ts';
import {
  assistantInfo,
  delta,
  ended,
  event,
  message,
  part,
  prompt,
  session,
  stepFinish,
  textPart,
  userInfo,
  wireMessage,
  wireTool,
} from '../support/wire.ts';

function begin(options: Partial<ConstructorParameters<typeof Reply>[0]> = {}) {
  const follower = new Follower();
  const observers = [follower.observer];
  const reply = new Reply({ sessionId: session, promptMessageId: prompt, observers, ...options });
  reply.apply(message(userInfo(prompt)));
  reply.apply(message(assistantInfo('msg_a')));
  return { reply, follower };
}

const text = (reply: Reply) => reply.result().fullText;
const tool = (reply: Reply, at = 0) =>
  reply.result().parts.filter(({ type }) => type === 'tool')[at] as ToolPart;

describe('text and reasoning', () => {
  it('grow by deltas, told one by one', () => {
    const { reply, follower } = begin();
    reply.apply(part(textPart('p1', '')));
    for (const word of ['Hello', ' ', 'you']) reply.apply(delta('p1', word));
    expect(text(reply)).toBe('Hello you');
    expect(follower.log).toEqual(['added text', 'grew text', 'grew text', 'grew text']);
  });

  it('a delta for an unknown part makes it, and the later update gives it its type', () => {
    const { reply, follower } = begin();
    reply.apply(delta('p1', 'Let me '));
    reply.apply(delta('p1', 'think'));
    expect(text(reply)).toBe('Let me think');
    reply.apply(part(textPart('p1', 'Let me think', { type: 'reasoning', ...ended })));
    expect(reply.result()).toMatchObject({ fullText: '', reasoningText: 'Let me think' });
    expect(follower.parts).toEqual(reply.result().parts);
  });

  it('a delta for what turns out to be no part of a reply leaves nothing behind', () => {
    const { reply, follower } = begin();
    reply.apply(delta('p1', 'x'));
    reply.apply(part(textPart('p1', 'x', { type: 'file' })));
    expect(reply.result().parts).toEqual([]);
    expect(follower.parts).toEqual([]);
  });

  it('a lost tail is told as growth', () => {
    const changes = jest.fn();
    const { reply } = begin({ observers: [{ partChanged: (_part, change) => changes(change) }] });
    reply.apply(delta('p1', 'Hel'));
    reply.apply(part(textPart('p1', 'Hello', ended)));
    expect(changes.mock.calls).toEqual([[{ offset: 3, delta: 'lo', replaced: false }]]);
  });

  it('a lost middle is told as a replacement from where the text was right', () => {
    const changes = jest.fn();
    const { reply } = begin({ observers: [{ partChanged: (_part, change) => changes(change) }] });
    reply.apply(delta('p1', 'Heo'));
    reply.apply(part(textPart('p1', 'Hello', ended)));
    expect(changes.mock.calls).toEqual([[{ offset: 2, delta: 'llo', replaced: true }]]);
    expect(text(reply)).toBe('Hello');
  });

  it('deltas after the whole text do not double it', () => {
    const { reply } = begin();
    reply.apply(part(textPart('p1', 'Hello', ended)));
    reply.apply(delta('p1', 'Hello'));
    expect(text(reply)).toBe('Hello');
  });

  it('no report that came late takes the whole text back', () => {
    const { reply } = begin();
    reply.apply(part(textPart('p1', 'Hello', ended)));
    reply.apply(part(textPart('p1', 'Help')));
    expect(text(reply)).toBe('Hello');
  });

  it('an update that is older than the deltas takes nothing back', () => {
    const { reply } = begin();
    reply.apply(delta('p1', 'Hello'));
    reply.apply(part(textPart('p1', '')));
    reply.apply(delta('p1', ' you'));
    expect(text(reply)).toBe('Hello you');
  });

  it('a text that was read in the middle waits for the whole instead of doubling the deltas in flight', () => {
    const { reply } = begin();
    reply.apply(part(textPart('p1', 'Hello')));
    reply.apply(delta('p1', 'lo'));
    expect(text(reply)).toBe('Hello');
    reply.apply(part(textPart('p1', 'Hello you', ended)));
    expect(text(reply)).toBe('Hello you');
  });

  it('after a gap no text grows with a hole', () => {
    const { reply } = begin();
    reply.apply(delta('p1', 'Hello '));
    reply.streamBroken();
    reply.apply(delta('p1', 'two'));
    reply.apply(delta('p2', 'in the middle'));
    expect(text(reply)).toBe('Hello ');
    reply.apply(part(textPart('p1', 'Hello you two', ended)));
    reply.apply(part(textPart('p3', '')));
    reply.apply(delta('p3', 'New.'));
    expect(text(reply)).toBe('Hello you two\n\nNew.');
  });

  it('texts are joined by a blank line, and empty ones are not shown', () => {
    const { reply } = begin();
    for (const [id, words] of [
      ['p1', 'One'],
      ['p2', ''],
      ['p3', 'Two'],
    ] as const)
      reply.apply(part(textPart(id, words, ended)));
    expect(text(reply)).toBe('One\n\nTwo');
  });

  it('what upstream wrote itself is no part of the reply', () => {
    const { reply } = begin();
    reply.apply(part(textPart('p1', 'Continue', { synthetic: true })));
    expect(reply.result().parts).toEqual([]);
  });
});

describe('tool parts', () => {
  it('only go forward, keep what an update omits, and are finalized once', () => {
    const { reply, follower } = begin();
    reply.apply(
      part(
        wireTool('t1', 'bash', { status: 'running', input: { command: 'ls' }, metadata: { output: 'a' } }),
      ),
    );
    reply.apply(part(wireTool('t1', 'bash', { status: 'pending', input: {}, raw: '' })));
    expect(tool(reply)).toMatchObject({ status: 'running', input: { command: 'ls' } });
    reply.apply(
      part(
        wireTool('t1', 'bash', { status: 'completed', output: 'a\nb', title: 'ls', metadata: { exit: 0 } }),
      ),
    );
    reply.apply(
      part(
        wireTool('t1', 'bash', { status: 'running', input: { command: 'ls' }, metadata: { output: 'a' } }),
      ),
    );
    expect(tool(reply)).toMatchObject({
      status: 'completed',
      input: { command: 'ls' },
      output: 'a\nb',
      metadata: { exit: 0, output: 'a' },
    });
    expect(follower.log).toEqual([
      'added bash running',
      'progressed bash completed',
      'finalized bash completed',
    ]);
  });

  it('keep their first name when upstream renames them to invalid, and have failed', () => {
    const { reply } = begin();
    reply.apply(part(wireTool('t1', 'write', { status: 'pending', input: {} })));
    reply.apply(
      part(wireTool('t1', 'invalid', { status: 'completed', input: { tool: 'write', error: 'no' } })),
    );
    expect(tool(reply)).toMatchObject({ tool: 'write', status: 'error', error: 'no' });
  });

  it('keep it also when upstream does not say any more what the name was', () => {
    const { reply } = begin();
    reply.apply(part(wireTool('t1', 'write', { status: 'pending', input: {} })));
    reply.apply(part(wireTool('t1', 'invalid', { status: 'completed', input: { error: 'no' } })));
    expect(tool(reply).tool).toBe('write');
  });

  it('carry an error of at most 200 characters', () => {
    const { reply } = begin();
    reply.apply(part(wireTool('t1', 'bash', { status: 'error', error: 'x'.repeat(5_000) })));
    expect(tool(reply).error).toHaveLength(200);
  });

  it('that are repeated word by word are told once', () => {
    const { reply, follower } = begin();
    const state = { status: 'running', input: { command: 'ls', env: ['a', { b: 1 }] } };
    reply.apply(part(wireTool('t1', 'bash', state)));
    reply.apply(part(wireTool('t1', 'bash', structuredClone(state))));
    expect(follower.log).toEqual(['added bash running']);
  });
});

describe('which messages belong', () => {
  it('the echo of the prompt and the parts of other turns do not', () => {
    const { reply } = begin();
    reply.apply(part(textPart('u1', 'the question', { messageID: prompt })));
    reply.apply(message(userInfo('msg_next', { time: { created: 9 } })));
    reply.apply(part(textPart('u2', 'another question', { messageID: 'msg_next' })));
    reply.apply(message(assistantInfo('msg_b', { parentID: 'msg_next' })));
    reply.apply(part(textPart('p2', 'another answer', { messageID: 'msg_b', ...ended })));
    expect(reply.result().parts).toEqual([]);
  });

  it('parts that come before their message are kept, in order, and shown when it comes', () => {
    const { reply, follower } = begin();
    reply.apply(part(textPart('p1', '', { messageID: 'msg_b' })));
    reply.apply(delta('p1', 'Hel', 'msg_b'));
    reply.apply(delta('p1', 'lo', 'msg_b'));
    expect(reply.result().parts).toEqual([]);
    reply.apply(message(assistantInfo('msg_b')));
    expect(text(reply)).toBe('Hello');
    expect(follower.parts).toEqual(reply.result().parts);
  });

  it('holding parts back is bounded, and then a text waits for its whole instead of having a hole', () => {
    const { reply } = begin();
    for (let at = 0; at < 1_500; at += 1) reply.apply(delta('p1', `${at} `, 'msg_b'));
    reply.apply(message(assistantInfo('msg_b')));
    expect(text(reply)).toBe('');
    reply.apply(part(textPart('p1', 'whole', { messageID: 'msg_b', ...ended })));
    expect(text(reply)).toBe('whole');
  });

  it('an answer waits until it is known whether a person asked for it', () => {
    const { reply } = begin();
    reply.apply(message(userInfo('msg_next', { time: { created: 3 } })));
    reply.apply(message(assistantInfo('msg_b', { parentID: 'msg_next' })));
    reply.apply(part(textPart('p2', 'to whom?', { messageID: 'msg_b', ...ended })));
    expect(reply.result().parts).toEqual([]);
    reply.apply(part(textPart('u2', 'another question', { messageID: 'msg_next' })));
    expect(reply.result().parts).toEqual([]);
  });

  const compacted = [
    message(userInfo('msg_c', { time: { created: 3 } })),
    part({ id: 'c1', sessionID: session, messageID: 'msg_c', type: 'compaction', auto: true }),
    message(assistantInfo('msg_s', { parentID: 'msg_c', summary: true })),
    part(textPart('s1', 'A summary.', { messageID: 'msg_s', ...ended })),
    part(stepFinish('s2', 0.5, { messageID: 'msg_s' })),
    message(userInfo('msg_y', { time: { created: 4 } })),
    message(assistantInfo('msg_z', { parentID: 'msg_y' })),
    part(textPart('z1', 'Final.', { messageID: 'msg_z', ...ended })),
    part(textPart('y1', 'Continue', { messageID: 'msg_y', synthetic: true })),
  ];

  it('the answer after a compaction does, its summary does not but is paid for', () => {
    const { reply } = begin();
    for (const one of compacted) reply.apply(one);
    expect(text(reply)).toBe('Final.');
    expect(reply.usage()).toMatchObject({ cost: 0.5, steps: 1 });
  });

  it('a compaction that follows the next prompt belongs to that one', () => {
    const { reply } = begin();
    reply.apply(message(userInfo('msg_next', { time: { created: 2.5 } })));
    reply.apply(part(textPart('u2', 'next', { messageID: 'msg_next' })));
    for (const one of compacted) reply.apply(one);
    expect(reply.result().parts).toEqual([]);
    expect(reply.usage().cost).toBe(0);
  });

  it('a compaction of an earlier turn belongs to that one', () => {
    const { reply } = begin();
    reply.apply(message(userInfo(prompt, { time: { created: 8 } })));
    for (const one of compacted) reply.apply(one);
    expect(reply.result().parts).toEqual([]);
  });

  it('removed messages and parts are gone', () => {
    const { reply, follower } = begin();
    reply.apply(part(textPart('p1', 'one', ended)));
    reply.apply(part(textPart('p2', 'two', ended)));
    reply.apply(event('message.part.removed', { messageID: 'msg_a', partID: 'p1' }));
    expect(text(reply)).toBe('two');
    reply.apply(event('message.removed', { messageID: 'msg_a' }));
    expect(reply.result().parts).toEqual([]);
    expect(follower.parts).toEqual([]);
  });
});

describe('usage', () => {
  it('counts each step once and sub-agents apart and in the total', () => {
    const { reply } = begin();
    reply.apply(part(stepFinish('f1', 0.1)));
    reply.apply(part(stepFinish('f1', 0.1)));
    reply.apply(event('session.created', { sessionID: 'ses_c', info: { id: 'ses_c', parentID: session } }));
    reply.apply(message(assistantInfo('msg_c', { sessionID: 'ses_c', parentID: 'msg_cp' })));
    reply.apply(part(stepFinish('f2', 0.2, { sessionID: 'ses_c', messageID: 'msg_c' })));
    const tokens = { input: 10, output: 5, reasoning: 1, cacheRead: 2, cacheWrite: 3 };
    expect(reply.usage()).toEqual({
      input: 20,
      output: 10,
      reasoning: 2,
      cacheRead: 4,
      cacheWrite: 6,
      cost: 0.3,
      steps: 1,
      children: { cost: 0.2, tokens },
    });
  });
});

describe('status and errors', () => {
  it('knows busy, idle, and the last error', () => {
    const sessionErrored = jest.fn();
    const { reply } = begin({ observers: [{ sessionErrored }] });
    expect([reply.busy, reply.idle]).toEqual([false, false]);
    reply.apply(event('session.status', { status: { type: 'busy' } }));
    expect([reply.busy, reply.idle]).toEqual([true, false]);
    const error = { name: 'APIError', data: { message: 'no credit', statusCode: 402 } };
    reply.apply(event('session.error', { error }));
    reply.apply(event('session.idle', {}));
    expect([reply.busy, reply.idle, reply.lastError]).toEqual([false, true, error]);
    expect(sessionErrored.mock.calls).toEqual([['no credit', error]]);
  });

  it('tells each attempt of upstream once', () => {
    const sessionRetried = jest.fn();
    const { reply } = begin({ observers: [{ sessionRetried }] });
    for (const attempt of [1, 1, 2])
      reply.apply(event('session.status', { status: { type: 'retry', attempt, message: 'later', next: 5 } }));
    expect(sessionRetried.mock.calls).toEqual([
      [{ attempt: 1, message: 'later', nextAt: 5 }],
      [{ attempt: 2, message: 'later', nextAt: 5 }],
    ]);
  });

  it('has progress as soon as upstream has begun to answer', () => {
    const reply = new Reply({ sessionId: session, promptMessageId: prompt });
    reply.apply(message(userInfo(prompt)));
    expect(reply.hasProgress).toBe(false);
    reply.apply(message(assistantInfo('msg_a')));
    expect(reply.hasProgress).toBe(true);
  });

  it('takes nothing from other sessions', () => {
    const { reply, follower } = begin();
    const other = { sessionID: 'ses_other' };
    reply.apply(event('session.status', { status: { type: 'busy' } }));
    reply.apply(message(assistantInfo('msg_a', other)));
    reply.apply(part(textPart('p1', 'foreign', { ...other, ...ended })));
    reply.apply(
      event('message.part.delta', { ...other, messageID: 'msg_a', partID: 'p1', field: 'text', delta: 'x' }),
    );
    reply.apply(event('session.status', { ...other, status: { type: 'idle' } }));
    reply.apply(event('session.idle', other));
    reply.apply(event('session.error', { ...other, error: { name: 'X' } }));
    reply.apply(event('todo.updated', { ...other, todos: [{ content: 'foreign' }] }));
    reply.apply(event('question.asked', { ...other, id: 'que_1', questions: [] }));
    reply.apply(event('permission.asked', { ...other, id: 'per_1', permission: 'bash', patterns: [] }));
    reply.apply(event('message.part.removed', { ...other, messageID: 'msg_a', partID: 'p1' }));
    expect(follower.log).toEqual([]);
    expect([reply.busy, reply.lastError, reply.requests.blocked]).toEqual([true, undefined, false]);
  });
});

describe('todos', () => {
  const list = [{ content: 'One', status: 'in-progress', priority: 'high' }];
  const canonical = [{ content: 'One', status: 'in_progress', priority: 'high' }];
  const state = { status: 'completed', input: { todos: list }, title: '1 todo' };

  it('without a tool part are shown in a part of their own, which upstream does not know', () => {
    const { reply } = begin();
    reply.apply(event('todo.updated', { todos: list }));
    expect(reply.result().parts).toMatchObject([
      { source: 'stream', tool: 'todowrite', input: { todos: canonical } },
    ]);
  });

  it('that part gives way to the real one', () => {
    const { reply, follower } = begin();
    reply.apply(event('todo.updated', { todos: list }));
    reply.apply(part(wireTool('t1', 'todowrite', { status: 'pending', input: {} })));
    expect(reply.result().parts).toMatchObject([
      { source: 'wire', status: 'pending', input: { todos: canonical } },
    ]);
    reply.apply(part(wireTool('t1', 'todowrite', state)));
    expect(reply.result().parts).toMatchObject([{ input: { todos: canonical }, title: '1 todo' }]);
    expect(follower.parts).toEqual(reply.result().parts);
  });

  it('refresh the real part in place and leave its title', () => {
    const { reply } = begin();
    reply.apply(part(wireTool('t1', 'todowrite', state)));
    const done = [{ content: 'One', status: 'completed' }];
    reply.apply(event('todo.updated', { todos: done }));
    expect(tool(reply)).toMatchObject({ title: '1 todo', input: { todos: done } });
    expect(reply.todos).toEqual(done);
  });

  it('of the next call leave the part of the call before as it was', () => {
    const { reply } = begin();
    reply.apply(part(wireTool('t1', 'todowrite', state)));
    const next = [{ content: 'Two', status: 'pending' }];
    reply.apply(event('todo.updated', { todos: next }));
    reply.apply(part(wireTool('t2', 'todowrite', { status: 'pending', input: {} })));
    expect(tool(reply, 0).input).toEqual({ todos: canonical });
    expect(tool(reply, 1).input).toEqual({ todos: next });
  });

  it('that only the tool part told are known as well', () => {
    const todosChanged = jest.fn();
    const { reply } = begin({ observers: [{ todosChanged }] });
    reply.apply(part(wireTool('t1', 'todowrite', state)));
    reply.apply(event('todo.updated', { todos: list }));
    expect(todosChanged.mock.calls).toEqual([[canonical]]);
  });
});

describe('questions and permissions', () => {
  const question = {
    id: 'que_1',
    questions: [{ question: 'Which?', header: 'Which', options: [{ label: 'A' }] }],
    tool: { messageID: 'msg_a', callID: 'call_t1' },
  };
  const pending = part(wireTool('t1', 'question', { status: 'pending', input: {} }));
  const asked = event('question.asked', question);

  it.each([
    ['before', [asked, pending]],
    ['after', [pending, asked]],
  ])('a question that comes %s its tool part is joined to it', (_when, events) => {
    const { reply, follower } = begin();
    for (const one of events) reply.apply(one);
    const joined = { input: { questions: question.questions }, metadata: { requestId: 'que_1' } };
    expect(reply.result().parts).toMatchObject([joined]);
    expect(follower.parts).toMatchObject([joined]);
    expect(reply.requests.blocked).toBe(true);
    expect(reply.requests.byCall('msg_a call_t1')?.request.id).toBe('que_1');
  });

  it('an answered question does not block, also when an older report of it comes again', () => {
    const { reply, follower } = begin();
    reply.apply(pending);
    reply.apply(asked);
    reply.apply(event('question.replied', { requestID: 'que_1', answers: [['A']] }));
    reply.apply(event('question.asked', question, 'evt_from_a_poll'));
    expect(reply.requests.blocked).toBe(false);
    expect(follower.log.filter((line) => line.startsWith('asked'))).toHaveLength(1);
  });

  it('a prompt whose call has ended is gone: an abort tells nothing else', () => {
    const { reply, follower } = begin();
    reply.apply(pending);
    reply.apply(asked);
    reply.apply(part(wireTool('t1', 'question', { status: 'error', error: 'Tool execution aborted' })));
    expect(reply.requests.blocked).toBe(false);
    expect(follower.log).toContain('prompt gone');
    expect(tool(reply).metadata).toEqual({});
  });

  it('permissions are told with their answer', () => {
    const { reply, follower } = begin();
    reply.apply(event('permission.asked', { id: 'per_1', permission: 'bash', patterns: ['ls'] }));
    expect(reply.requests.get('per_1')?.kind).toBe('permission');
    reply.apply(event('permission.replied', { requestID: 'per_1', reply: 'once' }));
    expect(follower.log).toEqual(['permission asked: bash', 'permission: once']);
  });
});

describe('sub-agents', () => {
  const child = { sessionID: 'ses_c' };
  const task = wireTool('t1', 'task', { status: 'running', input: {}, metadata: { sessionId: 'ses_c' } });

  it('are followed, attributed to their task part, and never mixed into the text', () => {
    const { reply, follower } = begin();
    reply.apply(event('session.created', { ...child, info: { id: 'ses_c', parentID: session } }));
    reply.apply(message(userInfo('msg_cp', child)));
    reply.apply(part(textPart('c0', 'do it', { ...child, messageID: 'msg_cp' })));
    reply.apply(message(assistantInfo('msg_c', { ...child, parentID: 'msg_cp' })));
    reply.apply(part(textPart('c1', 'Sub answer.', { ...child, messageID: 'msg_c', ...ended })));
    reply.apply(part(task));
    expect(text(reply)).toBe('');
    expect(follower.log).toContain('child of a task: text');
    expect(reply.childSessions().get('ses_c')).toMatchObject({
      callId: 'call_t1',
      partId: 't1',
      parentId: session,
      parts: [{ type: 'text', text: 'Sub answer.' }],
    });
  });

  it('are known by their task part alone, at any depth', () => {
    const { reply } = begin();
    const added: string[] = [];
    reply.observe({ childAdded: (sessionId) => added.push(sessionId) });
    reply.apply(part(task));
    expect(added).toEqual(['ses_c']);
    reply.apply(message(assistantInfo('msg_c', child)));
    const inner = wireTool('t2', 'task', { status: 'running', metadata: { sessionId: 'ses_d' } });
    reply.apply(part({ ...inner, ...child, messageID: 'msg_c' }));
    reply.apply(part(task));
    expect(added).toEqual(['ses_c', 'ses_d']);
    expect([...reply.childSessions().keys()]).toEqual(['ses_c', 'ses_d']);
    expect(reply.childSessions().get('ses_d')).toMatchObject({ parentId: 'ses_c', callId: 'call_t2' });
  });

  it('ask with their own session id', () => {
    const { reply } = begin();
    reply.apply(part(task));
    reply.apply(event('permission.asked', { ...child, id: 'per_1', permission: 'bash', patterns: [] }));
    expect(reply.requests.get('per_1')?.request.sessionID).toBe('ses_c');
  });

  it('cost what the list of their messages says, those of earlier turns apart', () => {
    const { reply } = begin();
    const own = wireMessage(
      assistantInfo('msg_a', { time: { created: 5, completed: 9 }, finish: 'stop' }),
      task,
    );
    const before = wireMessage(
      assistantInfo('msg_c0', { ...child, time: { created: 3 } }),
      stepFinish('f0', 1),
    );
    const during = wireMessage(assistantInfo('msg_c1', { ...child, time: { created: 6 } }), {
      ...stepFinish('f1', 0.25),
      messageID: 'msg_c1',
    });
    const children = new Map([['ses_c', [before, during]]]);
    const exchange = Exchange.from([wireMessage(userInfo(prompt)), own], prompt, { children });
    reply.syncRecoveredParts(exchange);
    expect(reply.usage()).toEqual(exchange.usage);
    expect(exchange.usage).toMatchObject({ cost: 0.25, steps: 0, children: { cost: 0.25 } });
  });
});

describe('recovery', () => {
  const done = { time: { created: 2, completed: 8 }, finish: 'stop' };
  const polled = (...parts: Parameters<typeof wireMessage>[1][]) =>
    Exchange.from(
      [wireMessage(userInfo(prompt)), wireMessage(assistantInfo('msg_a', done), ...parts)],
      prompt,
    );

  it('tells only what is new or changed, in the order of the list', () => {
    const { reply, follower } = begin();
    reply.apply(part(textPart('p1', 'One', ended)));
    reply.apply(delta('p3', 'Thr'));
    follower.log.length = 0;
    reply.syncRecoveredParts(
      polled(textPart('p1', 'One', ended), textPart('p2', 'Two', ended), textPart('p3', 'Three', ended)),
    );
    expect(text(reply)).toBe('One\n\nTwo\n\nThree');
    expect(follower.parts).toEqual(reply.result().parts);
    expect(follower.log).toEqual([
      'added text',
      'finalized text',
      'grew text',
      'finalized text',
      'reset to 3 parts',
    ]);
  });

  it('keeps stream-only parts at their place and drops what the list does not have', () => {
    const { reply } = begin();
    reply.apply(part(textPart('p1', 'One', ended)));
    reply.apply(event('todo.updated', { todos: [{ content: 'x' }] }));
    reply.apply(part(textPart('p2', 'Two', ended)));
    reply.apply(part(textPart('p9', 'never stored')));
    reply.syncRecoveredParts(polled(textPart('p1', 'One', ended), textPart('p2', 'Two', ended)));
    expect(reply.result().parts.map(({ id }) => id)).toEqual(['p1', `todos-${session}`, 'p2']);
  });

  it('keeps parts that are newer than the list', () => {
    const { reply } = begin();
    reply.apply(part(textPart('p1', 'One', ended)));
    reply.apply(message(assistantInfo('msg_b')));
    reply.apply(part(textPart('p2', 'newer', { messageID: 'msg_b', ...ended })));
    const step = assistantInfo('msg_a', { time: { created: 2, completed: 8 }, finish: 'tool-calls' });
    const list = [wireMessage(userInfo(prompt)), wireMessage(step, textPart('p1', 'One', ended))];
    reply.syncRecoveredParts(Exchange.from(list, prompt));
    expect(text(reply)).toBe('One\n\nnewer');
  });

  it('a run that the server lost gives way to the one that replaced it', () => {
    const { reply, follower } = begin();
    reply.apply(delta('p1', 'half of'));
    const lost = wireMessage(assistantInfo('msg_a'), textPart('p1', ''));
    const again = wireMessage(
      assistantInfo('msg_b', done),
      textPart('p2', 'whole', { messageID: 'msg_b', ...ended }),
    );
    reply.syncRecoveredParts(Exchange.from([wireMessage(userInfo(prompt)), lost, again], prompt));
    expect(text(reply)).toBe('whole');
    expect(follower.parts).toEqual(reply.result().parts);
    reply.apply(part(textPart('p1', 'half of', ended)));
    expect(text(reply)).toBe('whole');
  });

  it('a new owner goes on from the stored parts and tells nobody about them', () => {
    const { reply, follower } = begin();
    const stored = { id: 'p1', messageId: 'msg_a', source: 'wire', type: 'text', text: 'Hel' } as const;
    reply.replaceParts([stored]);
    expect(follower.log).toEqual([]);
    reply.apply(delta('p1', 'you'));
    expect(text(reply)).toBe('Hel');
    reply.apply(part(textPart('p1', 'Hello you', ended)));
    expect(text(reply)).toBe('Hello you');
  });
});

describe('observers', () => {
  it('that throw are reported and hurt neither the reply nor the others', () => {
    const report = jest.fn();
    const told = jest.fn();
    const broken = {
      partAdded: () => {
        throw new Error('broken observer');
      },
    };
    const observers = [broken, { partAdded: told }];
    const { reply } = begin({ observers, reporter: { report } });
    reply.apply(part(textPart('p1', 'fine', ended)));
    expect(text(reply)).toBe('fine');
    expect(told).toHaveBeenCalledTimes(1);
    expect(report.mock.calls).toEqual([[new Error('broken observer'), { action: 'observer.partAdded' }]]);
  });

  it('may be reported to a reporter that throws as well', () => {
    const fail = () => {
      throw new Error('broken');
    };
    const { reply } = begin({ observers: [{ partAdded: fail }], reporter: { report: fail } });
    reply.apply(part(textPart('p1', 'fine', ended)));
    expect(text(reply)).toBe('fine');
  });

  it('may implement nothing at all', () => {
    const { reply } = begin({ observers: [{}] });
    reply.apply(part(textPart('p1', 'fine', ended)));
    expect(text(reply)).toBe('fine');
  });
});
