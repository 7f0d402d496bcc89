import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { InputRequest, RunningWorker, TurnPolicy, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import type { InputAnswer } from '../../src/turn/stored-turn.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';
import { type EventWire, startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

/** Who may say yes to what an agent asks: a person of ours, for one conversation, and nobody else. */
let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let worker: RunningWorker;
/** Whoever else has the server's password. */
let stranger: OpenCode;
const wires: EventWire[] = [];
let policies: Record<string, TurnPolicy>;

const permissions: TurnPolicy['permissions'] = [{ permission: 'bash', pattern: '*', action: 'ask' }];
const once: InputAnswer = { kind: 'permission', reply: 'once' };
const always: InputAnswer = { kind: 'permission', reply: 'always' };

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  const password = system.opencode.password ?? '';
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  stranger = openCodeClient({ address: serverAddress(system.opencode.url, undefined, password) });
  // What is answered with "always" is remembered for a directory.
  const knowing = path.join(system.sandboxRoot, 'knowing');
  const ask = { ...system.policy, permissions };
  policies = {
    ask,
    reporting: { ...ask, answeredElsewhere: 'report' },
    allowing: { ...ask, answeredElsewhere: 'allow' },
    impatient: { ...ask, limits: { inputTimeoutMs: 300 } },
    knowing: { ...ask, directory: () => knowing, allowAlways: true },
  };
  worker = await turns.work({ policies });
  const keep = (wire: EventWire) => {
    wires.push(wire);
    return (frame: string) => wire.send(frame);
  };
  for (const directory of [system.policy.directory(), knowing]) proxy.spoil(directory, keep);
}, 90_000);
afterAll(async () => {
  await worker?.stop(1_000);
  await system?.stop();
  await proxy?.stop();
});
beforeEach(() => {
  proxy.before(() => undefined);
  proxy.after(() => undefined);
  system.reports.length = 0;
});

const directory = () => system.policy.directory();
const mark = (name: string) => path.join(directory(), name);
const bash = (command: string) => ({ name: 'bash', input: { command, description: 'test' } });

/** The agent runs these commands, one a step, and is done. */
function commands(...all: string[]): void {
  system.respond(({ step }) => (step < all.length ? { tools: [bash(all[step] ?? '')] } : { text: ['done'] }));
}

async function start(policy = 'ask') {
  const conversation = await newConversation(turns);
  const { id } = await turns.enqueue({ conversation, text: 'go', policy });
  const stored = async () => {
    const turn = await turns.get(id);
    if (!turn) throw new Error('no turn');
    return turn;
  };
  const asked = (count: number): Promise<InputRequest> =>
    eventually(async () => {
      const prompt = (await stored()).requests[count - 1];
      if (prompt?.state !== 'open') throw new Error(`prompt ${count} is not open`);
      return prompt;
    });
  const ended = async () => {
    await followAll(turns, id);
    return stored();
  };
  return { id, stored, asked, ended, answer: (r: string, a: InputAnswer) => turns.answer(id, r, a) };
}

const told = () => system.reports.filter(({ context }) => context.action === 'turn.answered_elsewhere');
const elsewhere = { status: 'error', error: { reason: 'answered_elsewhere' } };

describe('"always"', () => {
  it('is not offered, and not taken: the next one is asked again', async () => {
    commands('echo one', 'echo two');
    const turn = await start();
    const { requestId, replies } = await turn.asked(1);
    expect(replies).toEqual(['once', 'reject']);
    await expect(turn.answer(requestId, always)).rejects.toMatchObject({
      code: 'invalid_input',
      field: 'answer.reply',
    });
    expect((await turn.stored()).requests[0]?.answer).toBeUndefined();
    expect(await turn.answer(requestId, once)).toBe(true);
    await turn.answer((await turn.asked(2)).requestId, once);
    expect(await turn.ended()).toMatchObject({ status: 'completed' });
  });

  it('that is stored all the same is no answer', async () => {
    commands('echo one');
    const turn = await start();
    const { requestId } = await turn.asked(1);
    const answered = { $set: { 'requests.0.answer': JSON.stringify(always) } };
    await turns.models.Message.collection.updateOne({ 'requests.requestId': requestId }, answered);
    expect((await turn.ended()).requests).toMatchObject([{ state: 'rejected' }]);
    expect((await stranger.permissions(directory())).map(({ id }) => id)).not.toContain(requestId);
  });

  it('crosses conversations, which is why a policy has to allow it knowingly', async () => {
    commands('printf one');
    const first = await start('knowing');
    const { requestId, replies } = await first.asked(1);
    expect(replies).toEqual(['once', 'always', 'reject']);
    expect(await first.answer(requestId, always)).toBe(true);
    expect(await first.ended()).toMatchObject({ status: 'completed' });
    commands('printf two');
    const second = await (await start('knowing')).ended();
    expect(second).toMatchObject({ status: 'completed', requests: [] });
    expect(second.parts).toContainEqual(expect.objectContaining({ tool: 'bash', output: 'two' }));
  });

  it('of a person answers what waits beside it: that is nobody else\u2019s answer', async () => {
    const tools = [bash('expr 1 + 1'), bash('expr 2 + 2')];
    system.respond(({ step }) => (step === 0 ? { tools } : { text: ['done'] }));
    const turn = await start('knowing');
    await turn.asked(2);
    const { requestId } = await turn.asked(1);
    await turn.answer(requestId, always);
    const { status, requests } = await turn.ended();
    expect([status, ...requests.map(({ state }) => state)]).toEqual(['completed', 'answered', 'answered']);
    expect(told()).toEqual([]);
  });
});

describe('a permission that no person of ours gave', () => {
  it('to a command left running by one that a person allowed, with the password of its environment', async () => {
    const script = path.join(system.sandboxRoot, 'approver.mjs');
    mkdirSync(directory(), { recursive: true });
    writeFileSync(script, approver(system.opencode.url, directory()));
    const left = `setsid ${process.execPath} ${script} >/dev/null 2>&1 </dev/null & echo started`;
    commands(left, `sleep 30 && touch ${mark('by-itself')}`);
    const turn = await start();
    await turn.answer((await turn.asked(1)).requestId, once);
    const stored = await turn.ended();
    expect(stored).toMatchObject({ ...elsewhere, requests: [{ state: 'answered' }, { state: 'answered' }] });
    expect(existsSync(mark('by-itself'))).toBe(false);
    expect(await stranger.statuses(directory())).toEqual({});
    expect(told()).toMatchObject([{ error: { code: 'answered_elsewhere' }, context: { turnId: turn.id } }]);
  });

  it.each([
    ['ask', 'error', 1],
    ['reporting', 'completed', 1],
    ['allowing', 'completed', 0],
  ])('under the policy "%s" the turn is %s, and told %d times', async (policy, status, times) => {
    commands('echo one');
    const turn = await start(policy);
    await stranger.replyPermission(directory(), (await turn.asked(1)).requestId, 'once');
    expect(await turn.ended()).toMatchObject({ status });
    expect(told()).toHaveLength(times);
  });

  it('a refusal of somebody else\u2019s, or one of no answer in time, is none', async () => {
    commands('echo one');
    const turn = await start();
    await stranger.replyPermission(directory(), (await turn.asked(1)).requestId, 'reject');
    expect(await turn.ended()).toMatchObject({ status: 'completed', requests: [{ state: 'rejected' }] });
    expect(await (await start('impatient')).ended()).toMatchObject({ requests: [{ state: 'rejected' }] });
    expect(told()).toEqual([]);
  });

  it('overrules a person\u2019s refusal that was on its way', async () => {
    commands('echo one');
    const turn = await start();
    const { requestId } = await turn.asked(1);
    proxy.before(({ path: route }) =>
      route === `/permission/${requestId}/reply`
        ? stranger.replyPermission(directory(), requestId, 'once')
        : undefined,
    );
    await turn.answer(requestId, { kind: 'permission', reply: 'reject' });
    expect(await turn.ended()).toMatchObject(elsewhere);
  });

  it('overrules no stored answer that could not be given: that is nobody\u2019s either', async () => {
    // Remembered for the directory by what it begins with, which nothing else here does.
    commands('basename one');
    const turn = await start();
    const { requestId } = await turn.asked(1);
    proxy.before(({ path: route }) =>
      route === `/permission/${requestId}/reply`
        ? stranger.replyPermission(directory(), requestId, 'always')
        : undefined,
    );
    const answered = { $set: { 'requests.0.answer': JSON.stringify(always) } };
    await turns.models.Message.collection.updateOne({ 'requests.requestId': requestId }, answered);
    expect(await turn.ended()).toMatchObject(elsewhere);
  });

  it('to a sub-agent', async () => {
    const task = { description: 'sub', prompt: 'sub work', subagent_type: 'general' };
    system.respond(({ userText, step }) => {
      if (step > 0) return { text: ['done'] };
      const outside = { filePath: '/etc/hostname' };
      return {
        tools: [
          userText.includes('sub work') ? { name: 'read', input: outside } : { name: 'task', input: task },
        ],
      };
    });
    const turn = await start();
    const { requestId, sessionId } = await turn.asked(1);
    expect(sessionId).not.toBe((await turn.stored()).run.sessionId);
    await stranger.replyPermission(directory(), requestId, 'once');
    expect(await turn.ended()).toMatchObject(elsewhere);
  });

  it('while no stream tells: the tool that ran does', async () => {
    commands('echo one');
    const turn = await start();
    const { requestId } = await turn.asked(1);
    proxy.before(({ path: route }) => (route === '/event' ? Promise.reject(new Error('cut')) : undefined));
    for (const wire of wires.splice(0)) wire.cut();
    await stranger.replyPermission(directory(), requestId, 'once');
    expect(await turn.ended()).toMatchObject(elsewhere);
  });

  it('is told of a question, which changes nothing', async () => {
    const questions = [{ question: 'q?', header: 'h', options: [{ label: 'Blue', description: 'b' }] }];
    system.respond(({ step }) =>
      step === 0 ? { tools: [{ name: 'question', input: { questions } }] } : { text: ['done'] },
    );
    const turn = await start();
    await stranger.replyQuestion(directory(), (await turn.asked(1)).requestId, [['Blue']]);
    expect(await turn.ended()).toMatchObject({ status: 'completed' });
    expect(told()).toHaveLength(1);
  });
});

describe('a permission that a person of ours gave', () => {
  it('whose event comes before the answer to our own request', async () => {
    commands('echo one');
    const turn = await start();
    const { requestId } = await turn.asked(1);
    proxy.after(({ path: route }) =>
      route === `/permission/${requestId}/reply`
        ? eventually(async () =>
            expect((await turn.stored()).requests).toMatchObject([{ state: 'answered' }]),
          )
        : undefined,
    );
    await turn.answer(requestId, once);
    expect(await turn.ended()).toMatchObject({ status: 'completed' });
    expect(told()).toEqual([]);
  });

  it('and that an owner before this one has sent', async () => {
    commands('echo one');
    const turn = await start();
    const { requestId } = await turn.asked(1);
    // The owner sends it, hears neither the answer nor the event, and leaves.
    const sent = deferred();
    proxy.before(({ path: route }) => (route === '/event' ? Promise.reject(new Error('cut')) : undefined));
    proxy.after(({ path: route }) => {
      if (route !== `/permission/${requestId}/reply`) return undefined;
      sent.resolve();
      return Promise.reject(new Error('cut'));
    });
    for (const wire of wires.splice(0)) wire.cut();
    // The model says nothing more before the next owner is there.
    const go = deferred();
    system.respond(({ step }) => (step === 0 ? {} : { text: ['done'], gate: go.promise }));
    await turn.answer(requestId, once);
    await sent.promise;
    await worker.stop(0);
    expect((await turn.stored()).status).toBe('pending');
    proxy.before(() => undefined);
    proxy.after(() => undefined);
    worker = await turns.work({ policies });
    go.resolve();
    expect(await turn.ended()).toMatchObject({ status: 'completed', requests: [{ state: 'answered' }] });
    expect(told()).toEqual([]);
  });
});

/** Says yes to the first thing that is asked in the directory, as whoever has the server's environment can. */
const approver = (url: string, folder: string) => `
const headers = {
  authorization: 'Basic ' + Buffer.from('opencode:' + process.env.OPENCODE_SERVER_PASSWORD).toString('base64'),
  'content-type': 'application/json',
};
const query = '?directory=' + encodeURIComponent(${JSON.stringify(folder)});
const until = Date.now() + 20_000;
while (Date.now() < until) {
  const open = await (await fetch('${url}/permission' + query, { headers })).json();
  for (const { id } of open) {
    const body = JSON.stringify({ reply: 'once' });
    await fetch('${url}/permission/' + id + '/reply' + query, { method: 'POST', headers, body });
    process.exit();
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
}
`;
