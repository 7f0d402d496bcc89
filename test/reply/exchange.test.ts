import { describe, expect, it } from '@jest/globals';
import { Exchange } from '../../src/reply/exchange.ts';
import type { WireMessage } from '../../src/reply/wire.ts';
import { upstreamFailure } from '../../src/turn/failure.ts';
import { recording } from '../support/recordings.ts';
import {
  assistantInfo,
  ended,
  prompt,
  session,
  stepFinish,
  textPart,
  userInfo,
  wireMessage,
  wireTool,
} from '../support/wire.ts';

const asked = wireMessage(userInfo(prompt), textPart('u1', 'question', { messageID: prompt }));
const done = { time: { created: 2, completed: 3 }, finish: 'stop' };
const says = (id: string, words: string, info = {}): WireMessage =>
  wireMessage(
    assistantInfo(id, { ...done, ...info }),
    textPart(`p_${id}`, words, { messageID: id, ...ended }),
  );
const person = (id: string) => wireMessage(userInfo(id), textPart(`u_${id}`, 'next', { messageID: id }));
const compaction = (id: string, auto: boolean) =>
  wireMessage(userInfo(id), { id: `c_${id}`, sessionID: session, messageID: id, type: 'compaction', auto });
const goOn = (id: string) =>
  wireMessage(
    userInfo(id),
    textPart(`y_${id}`, 'Continue if you have next steps', { messageID: id, synthetic: true }),
  );

describe('files of sub-agents', () => {
  const call = (id: string, messageID: string, tool: string, state: object) =>
    wireTool(id, tool, { status: 'completed', input: {}, output: '', ...state }, { messageID });
  const write = (id: string, messageID: string, filePath: string) =>
    call(id, messageID, 'write', { input: { filePath, content: id } });
  const childOf = (sessionId: string) => ({ metadata: { sessionId } });

  it('stand where the call that started them stands, each once, also two levels deep', () => {
    const answer = wireMessage(
      assistantInfo('msg_a', done),
      write('first', 'msg_a', 'a.txt'),
      call('t1', 'msg_a', 'task', childOf('ses_c')),
      call('t2', 'msg_a', 'task', childOf('ses_c')),
      write('last', 'msg_a', 'b.txt'),
    );
    const child = wireMessage(
      assistantInfo('msg_c', done),
      write('c1', 'msg_c', 'a.txt'),
      call('t3', 'msg_c', 'task', childOf('ses_d')),
    );
    const grandchild = wireMessage(
      assistantInfo('msg_d', done),
      write('d1', 'msg_d', 'b.txt'),
      write('d2', 'msg_d', 'c.txt'),
    );
    const children = new Map([
      ['ses_c', [child]],
      ['ses_d', [grandchild]],
    ]);
    const files = Exchange.from([asked, answer], prompt, { children }).toolArtifacts();
    expect(files.map(({ path, content }) => [path, content])).toEqual([
      ['a.txt', 'c1'],
      ['c.txt', 'd2'],
      ['b.txt', 'last'],
    ]);
  });
});

describe('a run', () => {
  const posted = (created: number) => wireMessage({ ...userInfo(prompt), time: { created } }, ...asked.parts);
  const begunAt = (created: number) => wireMessage(assistantInfo('msg_a', { time: { created } }));

  it('has begun once an answer is as young as its prompt, which is younger each time that it is posted', () => {
    expect(Exchange.from([posted(5)], prompt).begun).toBe(false);
    expect(Exchange.from([posted(5), begunAt(5)], prompt).begun).toBe(true);
    expect(Exchange.from([posted(9), begunAt(6)], prompt).begun).toBe(false);
    expect(Exchange.from([begunAt(6)], prompt).begun).toBe(false);
  });
});

describe('the messages of one turn', () => {
  it('go up to the next message that a person wrote', () => {
    const list = [
      person('msg_0'),
      says('msg_00', 'old'),
      asked,
      says('msg_a', 'one'),
      says('msg_b', 'two'),
      person('msg_1'),
      says('msg_c', 'three', { parentID: 'msg_1' }),
    ];
    const exchange = Exchange.from(list, prompt);
    expect(exchange.userMessage).toBe(asked);
    expect(exchange.assistants.map(({ info }) => info.id)).toEqual(['msg_a', 'msg_b']);
    expect(exchange.text).toBe('one\n\ntwo');
  });

  it('are found by id, never by text', () => {
    const twin = wireMessage(userInfo('msg_twin'), textPart('u2', 'question', { messageID: 'msg_twin' }));
    const exchange = Exchange.from([twin, says('msg_x', 'no'), asked, says('msg_a', 'yes')], prompt);
    expect(exchange.text).toBe('yes');
  });

  it('are none when upstream does not have the prompt', () => {
    const exchange = Exchange.from([person('msg_0'), says('msg_a', 'other')], prompt);
    expect(exchange).toMatchObject({ userMessage: undefined, assistants: [], inProgress: true, text: '' });
  });

  it('include the answer after a compaction; its summary is only paid for', () => {
    const summary = says('msg_s', 'A summary.', { summary: true, parentID: 'msg_c' });
    const paid = { ...summary, parts: [...summary.parts, stepFinish('f1', 0.5)] };
    const list = [
      asked,
      says('msg_a', 'part one'),
      compaction('msg_c', true),
      paid,
      goOn('msg_y'),
      says('msg_z', 'final', { parentID: 'msg_y' }),
    ];
    const exchange = Exchange.from(list, prompt);
    expect(exchange.text).toBe('part one\n\nfinal');
    expect(exchange.lastAssistant?.info.id).toBe('msg_z');
    expect(exchange.usage.cost).toBe(0.5);
  });

  it('do not pay for a compaction that a person asked for', () => {
    const summary = wireMessage(
      assistantInfo('msg_s', { ...done, summary: true, parentID: 'msg_c' }),
      stepFinish('f1', 0.5),
    );
    expect(
      Exchange.from([asked, says('msg_a', 'one'), compaction('msg_c', false), summary], prompt).usage.cost,
    ).toBe(0);
  });

  describe('after an overflow', () => {
    const overflowed = says('msg_o', '', { finish: undefined });
    const compacted = wireMessage(userInfo('msg_c'), {
      id: 'c1',
      sessionID: session,
      messageID: 'msg_c',
      type: 'compaction',
      auto: true,
      overflow: true,
    });
    const summary = says('msg_s', 'A summary.', { summary: true, parentID: 'msg_c' });
    const again = (id: string, words = 'question') =>
      wireMessage(userInfo(id), textPart(`u_${id}`, words, { messageID: id }));
    const start = [asked, overflowed, compacted, summary];

    it('go on behind the prompt that upstream replays', () => {
      const list = [...start, again('msg_r'), says('msg_z', 'the answer', { parentID: 'msg_r' })];
      expect(Exchange.from(list, prompt)).toMatchObject({
        text: 'the answer',
        finish: 'stop',
        inProgress: false,
        foreign: [],
      });
    });

    it('are not at their end while the compaction, or its answer, is still to come', () => {
      for (const count of [3, 4]) expect(Exchange.from(start.slice(0, count), prompt).inProgress).toBe(true);
      expect(Exchange.from([...start, again('msg_r')], prompt).inProgress).toBe(true);
    });

    it('end with the error of a compaction that failed', () => {
      const error = { name: 'ContextOverflowError', data: { message: 'too large' } };
      const failed = says('msg_s', '', { summary: true, parentID: 'msg_c', finish: 'error', error });
      const exchange = Exchange.from([asked, overflowed, compacted, failed], prompt);
      expect(exchange).toMatchObject({ inProgress: false, error: { name: 'ContextOverflowError' } });
    });

    it("do not take somebody else's message for the replay", () => {
      const list = [...start, again('msg_f', 'mine'), says('msg_z', 'theirs', { parentID: 'msg_f' })];
      expect(Exchange.from(list, prompt)).toMatchObject({
        text: '',
        foreign: [{ info: { id: 'msg_f' } }],
      });
    });
  });

  it('are those below the prompt when somebody else prompts in between', () => {
    const step = says('msg_a', 'one', { finish: 'tool-calls' });
    const theirs = [person('msg_f'), says('msg_b', 'theirs', { parentID: 'msg_f' })];
    const taken = Exchange.from([asked, step, ...theirs], prompt);
    expect(taken).toMatchObject({ text: 'one', overtaken: true, foreign: [{ info: { id: 'msg_f' } }] });
    // A text that was under way is finished before it is the other's turn.
    const own = Exchange.from([asked, person('msg_f'), says('msg_a', 'whole'), ...theirs.slice(1)], prompt);
    expect(own).toMatchObject({ text: 'whole', overtaken: false });
    const compactedForThem = [
      compaction('msg_c', true),
      goOn('msg_y'),
      says('msg_z', 'x', { parentID: 'msg_y' }),
    ];
    expect(Exchange.from([asked, step, ...theirs, ...compactedForThem], prompt).text).toBe('one');
  });

  it('leave out a run that was aborted before the prompt was posted again', () => {
    const aborted = says('msg_a', 'half', { error: { name: 'MessageAbortedError' }, finish: undefined });
    const again = wireMessage({ ...userInfo(prompt), time: { created: 9 } }, ...asked.parts);
    const whole = says('msg_b', 'whole', { time: { created: 10, completed: 11 } });
    expect(Exchange.from([again, aborted, whole], prompt).text).toBe('whole');
    expect(Exchange.from([asked, aborted, whole], prompt).text).toBe('half\n\nwhole');
  });

  it('leave out a run that the server lost once another replaced it', () => {
    const lost = says('msg_a', 'half', { time: { created: 2 }, finish: undefined });
    expect(Exchange.from([asked, lost], prompt)).toMatchObject({ inProgress: true, text: 'half' });
    expect(Exchange.from([asked, lost, says('msg_b', 'whole')], prompt)).toMatchObject({
      inProgress: false,
      text: 'whole',
    });
  });

  it('claim nothing behind a message of which nobody knows who wrote it', () => {
    const unknown = wireMessage(userInfo('msg_1'));
    expect(
      Exchange.from(
        [asked, says('msg_a', 'one'), unknown, says('msg_b', 'two', { parentID: 'msg_1' })],
        prompt,
      ).text,
    ).toBe('one');
  });
});

describe('how it stands', () => {
  it('is in progress until the last assistant message is complete', () => {
    expect(Exchange.from([asked], prompt).inProgress).toBe(true);
    expect(Exchange.from([asked, says('msg_a', 'x', { time: { created: 2 } })], prompt).inProgress).toBe(
      true,
    );
    expect(Exchange.from([asked, says('msg_a', 'x')], prompt)).toMatchObject({
      inProgress: false,
      finish: 'stop',
    });
  });

  it('tells the error of the last message, without what the provider said', () => {
    const data = { message: 'bad key', statusCode: 401, isRetryable: false, responseBody: 'secret' };
    const failed = says('msg_a', '', { error: { name: 'APIError', data } });
    expect(Exchange.from([asked, failed], prompt).error).toEqual({
      name: 'APIError',
      message: 'bad key',
      statusCode: 401,
      retryable: false,
    });
    const bare = says('msg_a', '', { error: { name: 'MessageAbortedError' } });
    expect(Exchange.from([asked, bare], prompt).error).toEqual({
      name: 'MessageAbortedError',
      message: 'MessageAbortedError',
      retryable: false,
    });
  });

  it.each<[unknown, object]>([
    ['boom', { name: 'UnknownError', message: 'boom' }],
    [7, { name: 'UnknownError', message: '7' }],
    [[], { name: 'UnknownError', message: 'UnknownError' }],
    [
      { name: { a: 1 }, data: { message: { b: 2 } } },
      { name: 'UnknownError', message: 'UnknownError' },
    ],
    [
      { name: 'X', data: { message: null, statusCode: 'many' } },
      { name: 'X', message: 'X' },
    ],
    [
      { name: 'X', data: 'text' },
      { name: 'X', message: 'X' },
    ],
  ])('tells an error of any shape: %j', (error, told) => {
    const failed = says('msg_a', '', { error: error as never });
    const found = Exchange.from([asked, failed], prompt).error;
    expect(found).toEqual({ ...told, retryable: false });
    expect(upstreamFailure(found as NonNullable<typeof found>)).toMatchObject({ reason: 'upstream_error' });
  });

  it('keeps reasoning and text apart', () => {
    const both = wireMessage(
      assistantInfo('msg_a', done),
      textPart('r1', 'hmm', { type: 'reasoning' }),
      textPart('p1', 'answer'),
    );
    expect(Exchange.from([asked, both], prompt)).toMatchObject({ text: 'answer', reasoningText: 'hmm' });
  });
});

describe('files of its tool calls', () => {
  const files = (...parts: ReturnType<typeof wireTool>[]) =>
    Exchange.from([asked, wireMessage(assistantInfo('msg_a', done), ...parts)], prompt);
  const write = (id: string, path: string, content: string, status = 'completed') =>
    wireTool(id, 'write', { status, input: { filePath: path, content }, metadata: { filepath: path } });
  const patch = (id: string, ...changed: Record<string, unknown>[]) =>
    wireTool(id, 'apply_patch', {
      status: 'completed',
      input: { patchText: '' },
      metadata: { files: changed },
    });
  const edit = (id: string, path: string) =>
    wireTool(id, 'edit', {
      status: 'completed',
      input: { filePath: 'as/the/model/wrote', oldString: 'a', newString: 'b' },
      metadata: { filediff: { file: path } },
    });

  it('carry the content of a write, and the path of an edit or patch', () => {
    const exchange = files(
      write('t1', '/box/a.md', 'hello'),
      edit('t2', '/box/b.md'),
      patch('t3', { filePath: '/box/c.md', type: 'update' }),
    );
    expect(exchange.toolArtifacts()).toEqual([
      { path: '/box/a.md', kind: 'write', content: 'hello' },
      { path: '/box/b.md', kind: 'edit' },
      { path: '/box/c.md', kind: 'patch' },
    ]);
  });

  it('count only what completed', () => {
    expect(
      files(write('t1', '/box/a.md', 'x', 'error'), write('t2', '/box/b.md', 'x', 'running')).toolArtifacts(),
    ).toEqual([]);
  });

  it('changed twice are told once, as the last change left them', () => {
    expect(files(write('t1', '/box/a.md', 'one'), edit('t2', '/box/a.md')).toolArtifacts()).toEqual([
      { path: '/box/a.md', kind: 'edit' },
    ]);
    expect(files(edit('t1', '/box/a.md'), write('t2', '/box/a.md', 'two')).toolArtifacts()).toEqual([
      { path: '/box/a.md', kind: 'write', content: 'two' },
    ]);
  });

  it('come in the order of their last changes', () => {
    const exchange = files(
      write('t1', '/box/a.md', 'x'),
      write('t2', '/box/b.md', 'y'),
      edit('t3', '/box/a.md'),
    );
    expect(exchange.toolArtifacts().map(({ path }) => path)).toEqual(['/box/b.md', '/box/a.md']);
  });

  it('renamed are told at both ends, and deleted ones as deleted', () => {
    const moved = { filePath: '/box/old.md', movePath: '/box/new.md', type: 'move' };
    expect(files(write('t1', '/box/old.md', 'x'), patch('t2', moved)).toolArtifacts()).toEqual([
      { path: '/box/old.md', kind: 'patch', deleted: true },
      { path: '/box/new.md', kind: 'patch', renamedFrom: '/box/old.md' },
    ]);
    const gone = { filePath: '/box/new.md', type: 'delete' };
    expect(
      files(patch('t1', moved), patch('t2', gone))
        .toolArtifacts()
        .every(({ deleted }) => deleted),
    ).toBe(true);
  });

  it('keep where they came from when they are changed again, but not when they are gone', () => {
    const moved = { filePath: '/box/old.md', movePath: '/box/new.md', type: 'move' };
    expect(files(patch('t1', moved), edit('t2', '/box/new.md')).toolArtifacts().at(-1)).toEqual({
      path: '/box/new.md',
      kind: 'edit',
      renamedFrom: '/box/old.md',
    });
    const gone = { filePath: '/box/new.md', type: 'delete' };
    expect(
      files(patch('t1', moved), patch('t2', gone), write('t3', '/box/new.md', 'x'))
        .toolArtifacts()
        .at(-1),
    ).toEqual({ path: '/box/new.md', kind: 'write', content: 'x' });
  });

  it('are told as the real server describes them: added, updated, deleted, moved and changed again', () => {
    const { messages, prompts } = recording('apply-patch');
    expect(Exchange.from(messages, prompts[0] ?? '').toolArtifacts()).toEqual([
      { path: '/sandbox/docs/added.md', kind: 'patch' },
      { path: '/sandbox/report.md', kind: 'patch' },
      { path: '/sandbox/gone.md', kind: 'patch', deleted: true },
      { path: '/sandbox/draft.md', kind: 'patch', deleted: true },
      { path: '/sandbox/final/paper.md', kind: 'patch', renamedFrom: '/sandbox/draft.md' },
    ]);
    const edited = recording('edit-twice');
    expect(Exchange.from(edited.messages, edited.prompts[0] ?? '').toolArtifacts()).toEqual([
      { path: '/sandbox/notes/plan.md', kind: 'edit' },
    ]);
  });

  it('that were deleted and written again are there', () => {
    const gone = { filePath: '/box/a.md', type: 'delete' };
    expect(files(patch('t1', gone), write('t2', '/box/a.md', 'back')).toolArtifacts()).toEqual([
      { path: '/box/a.md', kind: 'write', content: 'back' },
    ]);
  });

  it('leave out the excluded ones', () => {
    const exchange = files(write('t1', '/box/a.md', 'x'), write('t2', '/box/b.md', 'y'));
    expect(exchange.toolArtifacts({ exclude: new Set(['/box/a.md']) }).map(({ path }) => path)).toEqual([
      '/box/b.md',
    ]);
  });

  it('ignore calls whose metadata is not what the server promises', () => {
    const odd = wireTool('t1', 'apply_patch', {
      status: 'completed',
      metadata: { files: [null, 1, {}, { filePath: 3 }] },
    });
    expect(
      files(odd, wireTool('t2', 'write', { status: 'completed', input: { filePath: 1 } })).toolArtifacts(),
    ).toEqual([]);
  });
});
