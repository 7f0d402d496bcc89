import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Step } from '../../dev/scripted-model/script.ts';
import type { InputRequest, RunningWorker, TurnPolicy, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { type Deferred, deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';
import { type EventWire, startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

/** A permission that is asked for and given while nobody of ours hears anything: what ran tells, and only where that is certain. */
let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let worker: RunningWorker;
/** Whoever else has the server's password. */
let stranger: OpenCode;
let policies: Record<string, TurnPolicy>;
const wires: EventWire[] = [];
const patienceMs = 45_000;
/** A stream tells that a permission is asked, and nothing of the call that asks, nor what comes then. */
let muteAfterAsk = false;
/** While there is one, nothing is heard: a stream that was on its way then tells nothing either. */
let deaf: Deferred | undefined;

const rule = (permission: string, action: 'allow' | 'ask', pattern = '*') => ({
  permission,
  pattern,
  action,
});

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  const password = system.opencode.password ?? '';
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  stranger = openCodeClient({ address: serverAddress(system.opencode.url, undefined, password) });
  const ask = { ...system.policy, permissions: [rule('bash', 'ask'), rule('edit', 'ask')] };
  policies = {
    ask,
    reporting: { ...ask, answeredElsewhere: 'report' },
    allowing: { ...ask, answeredElsewhere: 'allow' },
    some: { ...system.policy, permissions: [rule('bash', 'ask'), rule('bash', 'allow', 'echo *')] },
    silent: { ...system.policy, permissions: [] },
    outside: { ...system.policy, permissions: [rule('external_directory', 'ask'), rule('read', 'allow')] },
  };
  worker = await turns.work({ policies });
  mkdirSync(directory(), { recursive: true });
  proxy.spoil(directory(), (wire) => {
    if (deaf) wire.cut();
    else wires.push(wire);
    let mute = deaf !== undefined;
    return (frame) => {
      if (!mute) wire.send(frame);
      mute ||= muteAfterAsk && frame.includes('"permission.asked"');
    };
  });
}, 90_000);
afterAll(async () => {
  await worker?.stop(1_000);
  await system?.stop();
  await proxy?.stop();
});
afterEach(() => {
  hearAgain();
  proxy.after(() => undefined);
  muteAfterAsk = false;
  system.reports.length = 0;
});

const directory = () => system.policy.directory();
const bash = (command: string) => ({ name: 'bash', input: { command, description: 'test' } });
const told = () => system.reports.filter(({ context }) => context.action === 'turn.answered_elsewhere');
const elsewhere = { status: 'error', error: { reason: 'answered_elsewhere' } };

/** The model calls these once its gate is open, one step each, and is done. */
async function start(steps: readonly NonNullable<Step['tools']>[], policy = 'ask') {
  const gate = deferred();
  system.respond(({ userText, step }) =>
    userText === 'go' && steps[step]
      ? { tools: steps[step], gate: gate.promise }
      : { text: ['done'], gate: gate.promise },
  );
  const conversation = await newConversation(turns);
  const asked = system.model.requests.length;
  const { id } = await turns.enqueue({ conversation, text: 'go', policy });
  await eventually(() => expect(system.model.requests.length).toBeGreaterThan(asked), patienceMs);
  const stored = async () => {
    const turn = await turns.get(id);
    if (!turn) throw new Error('no turn');
    return turn;
  };
  const ended = async () => {
    await followAll(turns, id);
    return stored();
  };
  const prompt = (): Promise<InputRequest> =>
    eventually(async () => {
      const found = (await stored()).requests.find(({ state }) => state === 'open');
      if (!found) throw new Error('nothing is asked');
      return found;
    }, patienceMs);
  await eventually(async () => expect((await stored()).run.phase).toBe('prompted'));
  return { id, conversation, gate, stored, ended, prompt };
}

/** From here on the worker hears and reads nothing, until what it gets is resolved; its streams stay away. */
function deafen(): { reading: Deferred; hearing: Deferred } {
  const reading = deferred();
  const hearing = deferred();
  deaf = hearing;
  void hearing.promise.then(() => {
    deaf = undefined;
  });
  proxy.before(({ path: route }) => {
    if (route === '/event') return hearing.promise;
    // A reading that had its messages before asks what is open after them.
    const reads = /^\/session\/[^/]+\/message$|^\/permission$|^\/question$/.test(route);
    return reads ? reading.promise : undefined;
  });
  for (const wire of wires.splice(0)) wire.cut();
  return { reading, hearing };
}

/** Requests for a stream that still wait go on, so that the next turn's is there at once. */
function hearAgain(): void {
  deaf?.resolve();
  deaf = undefined;
  proxy.before(() => undefined);
}

/** Whoever has the password says yes to the next thing that the turn asks. */
const approve = ({ stored }: Run, reply: 'once' | 'always' = 'once') =>
  eventually(async () => {
    const ours = (await stored()).run.sessionId;
    const all = await stranger.permissions(directory());
    const request = all.findLast(({ sessionID }) => sessionID === ours);
    if (!request) throw new Error('nothing is asked');
    await stranger.replyPermission(directory(), request.id, reply);
  }, patienceMs);

type Run = Awaited<ReturnType<typeof start>>;
const toolOf = async ({ stored }: Run) => {
  const { sessionId } = (await stored()).run;
  const messages = await stranger.messages(sessionId ?? '');
  return messages.flatMap(({ parts }) => parts.filter(({ type }) => type === 'tool'));
};
const upstreamDone = (run: Run) =>
  eventually(async () => {
    const [part] = await toolOf(run);
    expect(part).toMatchObject({ state: { status: 'completed' } });
  }, patienceMs);

describe('an approval that nobody heard', () => {
  it.each([
    ['ask', 'error', 1],
    ['reporting', 'completed', 1],
    ['allowing', 'completed', 0],
  ])('under the policy "%s" the turn is %s, and told %d times', async (policy, status, times) => {
    const run = await start([[bash('echo one')]], policy);
    const { reading } = deafen();
    run.gate.resolve();
    await approve(run);
    await upstreamDone(run);
    reading.resolve();
    const stored = await run.ended();
    expect(stored).toMatchObject({ status, requests: [] });
    if (status === 'error') expect(stored).toMatchObject(elsewhere);
    expect(told()).toHaveLength(times);
  });

  it('is seen while what it allowed still runs, and that is stopped', async () => {
    const mark = path.join(directory(), 'went-on');
    const run = await start([[bash(`sleep 300 && touch ${mark}`)]]);
    const { reading } = deafen();
    run.gate.resolve();
    await approve(run);
    await eventually(async () => {
      const [part] = await toolOf(run);
      expect(part).toMatchObject({ state: { metadata: { output: '' } } });
    }, patienceMs);
    reading.resolve();
    expect(await run.ended()).toMatchObject(elsewhere);
    expect(await stranger.statuses(directory())).toEqual({});
    expect(existsSync(mark)).toBe(false);
  });

  it('is seen when the stream is back before anything was read', async () => {
    const run = await start([[bash('echo one')]]);
    const { reading, hearing } = deafen();
    run.gate.resolve();
    await approve(run);
    await upstreamDone(run);
    hearing.resolve();
    await eventually(() => expect(wires.length).toBeGreaterThan(0));
    reading.resolve();
    expect(await run.ended()).toMatchObject(elsewhere);
  });

  it('is seen by the next owner, when no worker had the turn', async () => {
    const run = await start([[bash('echo one')]]);
    await worker.stop(0);
    run.gate.resolve();
    await approve(run);
    await upstreamDone(run);
    worker = await turns.work({ policies });
    expect(await run.ended()).toMatchObject(elsewhere);
  });

  it('of a file that was written', async () => {
    const filePath = path.join(directory(), 'written.txt');
    const run = await start([[{ name: 'write', input: { filePath, content: 'x' } }]]);
    const { reading } = deafen();
    run.gate.resolve();
    await approve(run);
    await upstreamDone(run);
    reading.resolve();
    expect(await run.ended()).toMatchObject(elsewhere);
  });
});

describe('what is no alarm', () => {
  const quiet = async (run: Run, act: () => Promise<unknown>) => {
    const { reading } = deafen();
    run.gate.resolve();
    await act();
    await upstreamDone(run);
    reading.resolve();
    expect(await run.ended()).toMatchObject({ status: 'completed', requests: [] });
    expect(told()).toEqual([]);
  };

  it('rules that allow this one', async () => {
    const run = await start([[bash('echo one')]], 'some');
    await quiet(run, async () => undefined);
  });

  it('rules that say nothing of it', async () => {
    const run = await start([[bash('echo one')]], 'silent');
    await quiet(run, async () => undefined);
  });

  it.each(['cd .', 'one=1', '> empty.txt', '[ -d . ]', 'export one=1'])(
    '%j: the server asks nobody',
    async (command) => {
      const run = await start([[bash(command)]]);
      await quiet(run, async () => undefined);
    },
  );

  it('another permission of the same call', async () => {
    const run = await start([[{ name: 'read', input: { filePath: '/etc/hostname' } }]], 'outside');
    await quiet(run, () => approve(run));
  });

  it('what a sub-agent does, which inherits no rule that asks', async () => {
    const task = { description: 'sub', prompt: 'sub work', subagent_type: 'general' };
    const run = await start([[{ name: 'task', input: task }]]);
    system.respond(({ userText, step }) => {
      if (userText === 'sub work' && step === 0) return { tools: [bash('echo one')] };
      if (userText === 'go' && step === 0) return { tools: [{ name: 'task', input: task }] };
      return { text: ['done'] };
    });
    await quiet(run, async () => undefined);
  });

  it('what was asked before the silence, and answered by a person of ours', async () => {
    const run = await start([[bash('echo one')], [bash('echo two')]]);
    run.gate.resolve();
    const { requestId } = await run.prompt();
    for (const wire of wires.splice(0)) wire.cut();
    await turns.answer(run.id, requestId, { kind: 'permission', reply: 'once' });
    await eventually(
      async () =>
        expect((await run.stored()).requests).toMatchObject([{ state: 'answered' }, { state: 'open' }]),
      patienceMs,
    );
    await worker.stop(0);
    worker = await turns.work({ policies });
    const second = await run.prompt();
    await turns.answer(run.id, second.requestId, { kind: 'permission', reply: 'once' });
    expect(await run.ended()).toMatchObject({ status: 'completed' });
    expect(told()).toEqual([]);
  });

  it('a call that was seen only when a person of ours had answered it, by this owner', async () => {
    muteAfterAsk = true;
    const run = await start([[bash('echo one')]]);
    run.gate.resolve();
    const { requestId } = await run.prompt();
    const { reading } = deafen();
    await turns.answer(run.id, requestId, { kind: 'permission', reply: 'once' });
    await upstreamDone(run);
    reading.resolve();
    expect(await run.ended()).toMatchObject({ status: 'completed', requests: [{ state: 'answered' }] });
    expect(told()).toEqual([]);
  });

  it('a call that was seen only when a person of ours had answered it, by the next owner', async () => {
    muteAfterAsk = true;
    const run = await start([[bash('echo one')]]);
    run.gate.resolve();
    const { requestId } = await run.prompt();
    await worker.stop(0);
    muteAfterAsk = false;
    await turns.answer(run.id, requestId, { kind: 'permission', reply: 'once' });
    worker = await turns.work({ policies });
    expect(await run.ended()).toMatchObject({ status: 'completed', requests: [{ state: 'answered' }] });
    expect(told()).toEqual([]);
  });

  it('what a person of ours has answered, and no worker has read since', async () => {
    const run = await start([[bash('echo one')]]);
    run.gate.resolve();
    const { requestId } = await run.prompt();
    const { reading } = deafen();
    await turns.answer(run.id, requestId, { kind: 'permission', reply: 'once' });
    await upstreamDone(run);
    await worker.stop(0);
    reading.resolve();
    hearAgain();
    worker = await turns.work({ policies });
    expect(await run.ended()).toMatchObject({ status: 'completed', requests: [{ state: 'answered' }] });
    expect(told()).toEqual([]);
  });

  it('a worker one of whose policies offers "always": it may have been said in the same directory', async () => {
    await worker.stop(0);
    worker = await turns.work({ policies: { ...policies, always: { ...policies.ask, allowAlways: true } } });
    const run = await start([[bash('echo one')]]);
    await quiet(run, () => approve(run));
    await worker.stop(0);
    worker = await turns.work({ policies });
  });

  // The last one: what it says holds for the directory until the server ends.
  it('what the server did not ask for since somebody told it "always", while the stream is live again', async () => {
    const run = await start([[bash('echo one')]], 'reporting');
    const second = deferred();
    system.respond(({ userText, step }) =>
      userText === 'go' && step === 1
        ? { tools: [bash('echo two')], gate: second.promise }
        : { text: ['done'] },
    );
    run.gate.resolve();
    await approve(run, 'always');
    await eventually(() => expect(told()).toHaveLength(1), patienceMs);
    const answered: string[] = [];
    proxy.after(({ path: route }) => void answered.push(route));
    for (const wire of wires.splice(0)) wire.cut();
    await eventually(() => expect(wires.length).toBeGreaterThan(0), patienceMs);
    // A new stream is followed by a look, which begins and ends with these questions.
    answered.length = 0;
    await eventually(() => {
      const look = answered.slice(answered.indexOf('/session/status'));
      expect(look).toEqual(expect.arrayContaining(['/session/status', '/permission', '/question']));
    }, patienceMs);
    second.resolve();
    expect(await run.ended()).toMatchObject({ status: 'completed' });
    expect(told()).toHaveLength(1);
  });
});
