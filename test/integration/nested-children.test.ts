import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { ModelRequest, Step } from '../../dev/scripted-model/script.ts';
import type { StoredTurn, TurnPolicy, Turns, TurnsOptions } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { openCodeIds } from '../../src/opencode/v1/ids.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { startTcpProxy, through } from '../support/tcp-proxy.ts';
import { newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;
let client: OpenCode;
let nesting: TurnPolicy & { readonly directory: () => string };

/** By default no sub-agent starts another; these two settings of a project together let this agent do it. */
const project = {
  subagent_depth: 2,
  agent: { lead: { mode: 'subagent', description: 'leads', permission: { task: 'allow' } } },
};

beforeAll(async () => {
  system = await startSystem();
  const { url, password } = system.opencode;
  client = openCodeClient({ address: serverAddress(url, undefined, password) });
  const directory = path.join(system.sandboxRoot, 'nesting');
  mkdirSync(directory);
  writeFileSync(path.join(directory, 'opencode.json'), JSON.stringify(project));
  // The file that allows it is the host's own.
  nesting = { ...system.policy, directory: () => directory, hostConfigFiles: [{ path: 'opencode.json' }] };
}, 90_000);
afterAll(() => system.stop());

/** Whatever a test opened, also when it failed. */
const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

async function connected(options: Partial<TurnsOptions> = {}): Promise<Turns> {
  prefixes += 1;
  const turns = await system.connect({ prefix: `${system.options.prefix}-${prefixes}`, ...options });
  opened.push(() => turns.close());
  return turns;
}
let prefixes = 0;

const usage = { input: 100, output: 20 };
const stepCost = 0.0006;
const task = (prompt: string, subagent_type: string): NonNullable<Step['tools']>[number] => ({
  name: 'task',
  input: { description: 'Sub work', prompt, subagent_type },
});

/** The turn's agent has a lead, the lead would have a helper; `helps` is what the helper does. */
const nested =
  (helps: (request: ModelRequest) => Step, lead = 'lead', gate?: Promise<unknown>) =>
  (request: ModelRequest): Step => {
    const { userText, step } = request;
    if (userText.includes('help')) return helps(request);
    if (userText.includes('lead'))
      return step === 0
        ? { tools: [task('help', 'general')], usage, ...(gate ? { gate } : {}) }
        : { text: ['Led.'], usage };
    return step === 0 ? { tools: [task('lead', lead)], usage } : { text: ['Done.'], usage };
  };
/** Built-in agents ask before they read a file of this name. */
const asks = ({ step }: ModelRequest): Step =>
  step === 0 ? { tools: [{ name: 'read', input: { filePath: '.env' } }], usage } : { text: ['Read.'], usage };

const sessionsFrom = async (sessionId: string): Promise<string[]> => {
  const children = await client.children(sessionId);
  return [sessionId, ...(await Promise.all(children.map(({ id }) => sessionsFrom(id)))).flat()];
};
/** The sessions of the turn's agent, its lead and the helper. */
const familyOf = ({ run }: StoredTurn) => sessionsFrom(run.sessionId ?? '');

async function busyOf(family: readonly string[]): Promise<string[]> {
  const statuses = await client.statuses(nesting.directory());
  return family.filter((id) => id in statuses);
}

interface Started {
  readonly id: string;
  readonly stored: () => Promise<StoredTurn>;
  readonly ended: () => Promise<StoredTurn>;
}

async function start(turns: Turns, text: string): Promise<Started> {
  const { id } = await turns.enqueue({ conversation: await newConversation(turns), text });
  const stored = async () => (await turns.get(id)) as StoredTurn;
  const ended = async () => {
    for await (const _entry of turns.follow(id));
    return stored();
  };
  return { id, stored, ended };
}

/** Answers what the helper asks and checks what the turn says of it at the end. */
async function answered(turns: Turns, turn: Started): Promise<StoredTurn> {
  const prompt = await eventually(async () => {
    const [open] = (await turn.stored()).requests;
    if (!open) throw new Error('no prompt yet');
    return open;
  }, 20_000);
  const [, , helper] = await familyOf(await turn.stored());
  expect(prompt).toMatchObject({ kind: 'permission', sessionId: helper, state: 'open' });
  expect(await turns.answer(turn.id, prompt.requestId, { kind: 'permission', reply: 'once' })).toBe(true);
  const stored = await turn.ended();
  expect(stored).toMatchObject({ status: 'completed', text: 'Done.', requests: [{ state: 'answered' }] });
  expect(stored.usage).toMatchObject({ cost: 6 * stepCost, steps: 2, children: { cost: 4 * stepCost } });
  return stored;
}

describe('a sub-agent of a sub-agent', () => {
  it('is not to be had unless the project allows it: upstream offers a sub-agent no task', async () => {
    const turns = await connected();
    await turns.work({ policies: { default: system.policy } });
    const before = system.model.turnRequests.length;
    system.respond(nested(() => ({ text: ['never asked'] }), 'general'));
    const { stored } = await runTurn(turns, await newConversation(turns), 'go');
    expect(stored).toMatchObject({ status: 'completed', text: 'Done.' });
    const asked = system.model.turnRequests.slice(before);
    expect(asked.map(({ userText, tools }) => [userText, tools.includes('task')])).toEqual([
      ['go', true],
      ['lead', false],
      ['lead', false],
      ['go', true],
    ]);
    expect(await familyOf(stored)).toHaveLength(2);
  });

  it('asks, is answered, and is part of the turn’s cost', async () => {
    const turns = await connected();
    await turns.work({ policies: { default: nesting } });
    system.respond(nested(asks));
    await answered(turns, await start(turns, 'go'));
  });

  it('that started and asked while the event stream was away is heard once it is back', async () => {
    const { url, password } = system.opencode;
    const proxy = await startTcpProxy(url);
    opened.push(() => proxy.stop());
    const opencode = { url: through(proxy, url), ...(password ? { password } : {}) };
    const turns = await connected({ opencode });
    await turns.work({ policies: { default: nesting } });
    const { promise, resolve } = deferred();
    system.respond(nested(asks, 'lead', promise));
    const turn = await start(turns, 'go');
    await leads();
    proxy.cut();
    resolve();
    await helperAsks(turn);
    proxy.restore();
    expect(await answered(turns, turn)).toMatchObject({ run: { epoch: 1, reruns: 0, resends: 0 } });
  });

  it('that started and asked while no worker had the turn is heard by the next one', async () => {
    const turns = await connected();
    const first = await turns.work({ policies: { default: nesting } });
    const { promise, resolve } = deferred();
    system.respond(nested(asks, 'lead', promise));
    const turn = await start(turns, 'go');
    await leads();
    expect((await first.stop(0)).handedBack).toHaveLength(1);
    resolve();
    await helperAsks(turn);
    await turns.work({ policies: { default: nesting } });
    expect(await answered(turns, turn)).toMatchObject({ run: { epoch: 2, reruns: 0, resends: 0 } });
  });

  it('is over, upstream too, when the turn was cancelled', async () => {
    const turns = await connected();
    await turns.work({ policies: { default: nesting } });
    const before = system.model.turnRequests.at(-1)?.number ?? 0;
    system.respond(nested(() => ({ text: ['a ', 'b '], gate: deferred().promise, gateAt: 1 })));
    const turn = await start(turns, 'go');
    const helping = await eventually(() => {
      const request = system.model.turnRequests.at(-1);
      if (request?.userText !== 'help' || request.number <= before) throw new Error('no helper yet');
      return request;
    });
    const family = await familyOf(await turn.stored());
    expect(family).toHaveLength(3);
    await turns.cancel(turn.id);
    expect((await turn.ended()).status).toBe('cancelled');
    expect(await busyOf(family)).toEqual([]);
    await eventually(() => expect(helping.outcome).toBe('aborted'));
  });

  it('that runs on by itself keeps the turn open, and is stopped with it', async () => {
    const turns = await connected();
    await turns.work({ policies: { default: nesting } });
    const { promise, resolve } = deferred();
    const helped = nested(() => ({ text: ['Helped.'] }));
    system.respond((request) => {
      const { userText, step } = request;
      if (userText === 'quick') return { text: ['Quick.'] };
      if (userText === 'run on') return { text: ['on ', 'and on'], gate: deferred().promise, gateAt: 1 };
      return { ...helped(request), ...(userText === 'go' && step === 1 ? { gate: promise } : {}) };
    });
    const turn = await start(turns, 'go');
    const family = await eventually(async () => {
      const told = await familyOf(await turn.stored());
      expect(told).toHaveLength(3);
      expect(await busyOf(told)).toEqual(told.slice(0, 1));
      return told;
    });
    const [own = '', , helper = ''] = family;
    await runOn(helper);
    resolve();
    await eventually(async () => expect(await busyOf(family)).toEqual([helper]));
    // Time enough for a verdict: another turn comes and goes.
    await runTurn(turns, await newConversation(turns), 'quick');
    expect(await turn.stored()).toMatchObject({ status: 'pending', run: { sessionId: own } });
    await turns.cancel(turn.id);
    expect(await turn.ended()).toMatchObject({ status: 'cancelled', text: 'Done.' });
    expect(await busyOf(family)).toEqual([]);
  });
});

/** Upstream, by a hand that is not ours: no task waits for it, so no abort of a parent reaches it. */
async function runOn(sessionId: string): Promise<void> {
  const ids = openCodeIds();
  const parts = [{ id: ids.part(), type: 'text' as const, text: 'run on' }];
  const model = { providerID: 'scripted', modelID: 'scripted' };
  await client.prompt(sessionId, { messageId: ids.message(), parts, model });
  await eventually(() => expect(system.model.turnRequests.at(-1)?.userText).toBe('run on'));
}

/** The lead's model has been asked, and waits at its gate. */
const leads = () => eventually(() => expect(system.model.turnRequests.at(-1)?.userText).toBe('lead'));

async function helperAsks(turn: Started): Promise<void> {
  await eventually(async () => {
    const [, , helper] = await familyOf(await turn.stored());
    const asked = await client.permissions(nesting.directory());
    expect(asked.map(({ sessionID }) => sessionID)).toContain(helper);
  });
}
