import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { StoredTurn, TurnPolicy, Turns } from '../../src/index.ts';
import { type AgentScript, scriptedUpstream, testTurns } from '../../src/testing/index.ts';
import { type Respond, startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';

/** The scripted server of `opencode-turns/testing` beside the real one: what a turn tells and stores is the same. */
let system: TestSystem;
let turns: Turns;
beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
}, 120_000);
afterAll(() => system?.stop());

interface Case {
  /** What the model does, behind the real server. */
  readonly model: Respond;
  readonly script: AgentScript;
  readonly permissions?: TurnPolicy['permissions'];
  /** What a person does with what is asked. */
  readonly answer?: Parameters<Turns['answer']>[2];
  readonly cancelAt?: 'text';
}

const asks = [{ permission: 'bash', pattern: '*', action: 'ask' }] as const;
const bash: Respond = ({ step }) =>
  step === 0
    ? { tools: [{ name: 'bash', input: { command: 'echo hello', description: 'Says hello' } }] }
    : { text: ['Done.'] };
const echo: AgentScript = async (agent) => {
  await agent.uses('bash', {
    input: { command: 'echo hello', description: 'Says hello' },
    output: 'hello\n',
  });
  agent.says('Done.');
};
const question = { question: 'Which color?', header: 'Color', options: ['Red', 'Blue'] };
const options = question.options.map((label) => ({ label, description: '' }));
const choose: Respond = ({ step }) =>
  step === 0
    ? { tools: [{ name: 'question', input: { questions: [{ ...question, options }] } }] }
    : { text: ['Blue it is.'] };
const chosen: AgentScript = async (agent) => {
  const [[color] = []] = await agent.asks(question);
  agent.says(`${color} it is.`);
};

const cases: Readonly<Record<string, Case>> = {
  'a text with its reasoning': {
    model: () => ({ reasoning: ['hm ', 'so'], text: ['Paris', '.'] }),
    script: (agent) => {
      agent.thinks('hm ');
      agent.thinks('so');
      agent.says('Paris');
      agent.says('.');
    },
  },
  'a file': {
    model: ({ step }) =>
      step === 0
        ? { tools: [{ name: 'write', input: { filePath: 'report.md', content: '# hello' } }] }
        : { text: ['Done.'] },
    script: async (agent) => {
      await agent.writes('report.md', '# hello');
      agent.says('Done.');
    },
  },
  'a call that nobody needs to allow': { model: bash, script: echo },
  'a call that a person allows': {
    model: bash,
    script: echo,
    permissions: asks,
    answer: { kind: 'permission', reply: 'once' },
  },
  'a call that a person refuses': {
    model: bash,
    script: echo,
    permissions: asks,
    answer: { kind: 'permission', reply: 'reject' },
  },
  'a call that a person refuses with a reason': {
    model: bash,
    script: echo,
    permissions: asks,
    answer: { kind: 'permission', reply: 'reject', message: 'not here' },
  },
  'a question that is answered': {
    model: choose,
    script: chosen,
    answer: { kind: 'question', answers: [['Blue']] },
  },
  'a question that is rejected': { model: choose, script: chosen, answer: { kind: 'reject' } },
  'an error of the provider': {
    model: () => ({ error: { status: 401, body: { error: { message: 'Incorrect API key.' } } } }),
    script: (agent) => agent.fails({ message: 'Incorrect API key.', statusCode: 401 }),
  },
  'a turn that is cancelled': {
    model: () => ({ text: ['some ', 'text'], ending: 'hang' }),
    script: async (agent) => {
      agent.says('some ');
      agent.says('text');
      await agent.hangs();
    },
    cancelAt: 'text',
  },
};

/** A turn of that case to its end, by what a person does meanwhile. */
async function through(on: Turns, conversation: string, { answer, cancelAt }: Case): Promise<StoredTurn> {
  const { id } = await on.enqueue({ conversation, text: 'Go.' });
  const acting = (async () => {
    let text = '';
    for await (const entry of on.follow(id)) {
      if (entry.type === 'request' && entry.request.state === 'open' && answer)
        await on.answer(id, entry.request.requestId, answer);
      if (entry.type === 'part' && entry.part.type === 'text') text = entry.part.text;
      if (entry.type === 'text') text += entry.delta;
      if (cancelAt && text === 'some text') await on.cancel(id);
    }
  })();
  const { view } = await followAll(on, id);
  await acting;
  const stored = (await on.get(id)) as StoredTurn;
  // Followers hold what is stored.
  expect(view).toMatchObject({ status: stored.status, parts: stored.parts });
  return stored;
}

/** What does not name a moment, an id, a machine, a model's bill, or what one server says in its own words. */
function shown({ status, text, reasoning, parts, requests, artifacts, error, run }: StoredTurn) {
  return {
    status,
    text,
    reasoning,
    parts: parts.map((part) =>
      part.type === 'tool'
        ? {
            type: part.type,
            tool: part.tool,
            status: part.status,
            error: part.error,
            input: Object.keys(part.input),
          }
        : { type: part.type, text: part.text },
    ),
    requests: requests.map(({ kind, state, details, answer, replies, callId }) => {
      const { questions, permission, patterns } = details;
      return { kind, state, questions, permission, patterns, answer, replies, ofACall: callId !== undefined };
    }),
    artifacts: artifacts.map(({ filename, bytes, sha256, contentType }) => [
      filename,
      bytes,
      sha256,
      contentType,
    ]),
    reason: error?.reason,
    name: error?.name,
    statusCode: error?.statusCode,
    counts: [run.phase, run.reruns, run.resends],
  };
}

it.each(Object.keys(cases))('%s', async (name) => {
  const one = cases[name] as Case;
  const { permissions = [] } = one;
  system.respond(one.model);
  const worker = await turns.work({ policies: { default: { ...system.policy, permissions } } });
  const scripted = await testTurns({
    upstream: scriptedUpstream(one.script),
    policies: { default: { model: 'scripted/scripted', permissions } },
  });
  try {
    const [real, played] = await Promise.all([
      through(turns, await newConversation(turns), one),
      through(scripted.turns, scripted.conversation(), one),
    ]);
    expect(shown(played)).toEqual(shown(real));
    expect(scripted.reports.map(({ context }) => context.action)).toEqual(
      real.status === 'error' ? ['turn.finished'] : [],
    );
  } finally {
    await Promise.all([worker.stop(1_000), scripted.close()]);
  }
});
