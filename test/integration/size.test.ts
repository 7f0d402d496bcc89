import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { byteBudget, maxRequestBytes } from '../../src/bounds/byte-budget.ts';
import type { StoredTurn, TurnLimits, TurnPolicy, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Doc, errorReply, type MongoCommand, MongoReplyProxy } from '../support/mongo-reply-proxy.ts';
import { type Respond, startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;
const MiB = 1024 * 1024;
const asking: TurnPolicy = { permissions: [{ permission: 'edit', pattern: '*', action: 'ask' }] };
/** Leaves every file where it is: what is looked at here is the turn. */
const bare: TurnPolicy = { defaultAttach: 'none' };

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  const { policy } = system;
  await turns.work({
    policies: { default: { ...policy, ...bare }, asking: { ...policy, ...bare, ...asking } },
  });
}, 90_000);
afterAll(() => system.stop());

const bytes = (value: unknown) => Buffer.byteLength(JSON.stringify(value));
const stored = async (id: string) => (await turns.get(id)) as StoredTurn;
const bash = (command: string) => ({ name: 'bash', input: { command, description: 'test' } });

/** After a turn of any size the conversation goes on. */
async function expectGoesOn(conversation: string): Promise<void> {
  system.respond(() => ({ text: ['next'] }));
  const next = await runTurn(turns, conversation, 'next');
  expect(next.stored).toMatchObject({ status: 'completed', text: 'next' });
}

it('outputs beyond what a document may hold are cut, the newest not, and followers hold what is stored', async () => {
  const conversation = await newConversation(turns);
  const fill = "head -c 45000 /dev/zero | tr '\\0' x";
  system.respond(({ step }) =>
    step < 11
      ? { tools: Array.from({ length: 16 }, (_, at) => bash(`printf 'no %s ' ${step * 16 + at}; ${fill}`)) }
      : { text: ['all ', 'printed'] },
  );
  const turn = await runTurn(turns, conversation, 'print');
  const tools = turn.stored.parts.flatMap((part) => (part.type === 'tool' ? [part] : []));
  expect(turn.stored).toMatchObject({ status: 'completed', text: 'all printed', run: { epoch: 1 } });
  expect(bytes(turn.stored.parts)).toBeLessThanOrEqual(byteBudget.parts);
  expect(
    tools.map(({ output }) => Number(/^no (\d+) x/.exec(output ?? '')?.[1])).sort((a, b) => a - b),
  ).toEqual(Array.from({ length: 176 }, (_, at) => at));
  expect(tools[0]?.output).toMatch(/\n\[\d+ bytes left out\]$/);
  expect(tools.at(-1)?.output?.length).toBeGreaterThan(32_000);
  // The whole is where the docs say that it is.
  const { url, password } = system.opencode;
  const client = openCodeClient({ address: serverAddress(url, undefined, password) });
  const message = await client.message(turn.stored.run.sessionId ?? '', tools[0]?.messageId ?? '');
  const whole = message?.parts.find(({ id }) => id === tools[0]?.id)?.state as { output: string };
  expect(whole.output.length).toBeGreaterThan(45_000);
  expect(turn.view.parts).toEqual(turn.stored.parts);
  expect(Math.max(...turn.entries.map(bytes))).toBeLessThanOrEqual(byteBudget.parts + 1_024);
  await expectGoesOn(conversation);
}, 120_000);

it('nine steps of 1 MB of text are completed with the last of it', async () => {
  const conversation = await newConversation(turns);
  const megabyte = (step: number) => Array.from({ length: 16 }, () => `${step}`.repeat(MiB / 16));
  system.respond(({ step }) => ({ text: megabyte(step), ...(step < 8 ? { tools: [bash('true')] } : {}) }));
  const turn = await runTurn(turns, conversation, 'write');
  expect(turn.stored.status).toBe('completed');
  expect(turn.stored.text.endsWith(`\n\n${'8'.repeat(MiB)}`)).toBe(true);
  expect(turn.stored.text).toMatch(/^\[\d+ bytes left out\]\n/);
  expect(bytes(turn.stored.text)).toBeLessThanOrEqual(byteBudget.text);
  expect(bytes(turn.stored.parts)).toBeLessThanOrEqual(byteBudget.parts);
  expect(turn.view.parts).toEqual(turn.stored.parts);
  expect(turn.view.end?.text).toBe(turn.stored.text);
  await expectGoesOn(conversation);
}, 120_000);

it('permissions that show a megabyte each can be answered, and the turn is completed', async () => {
  const conversation = await newConversation(turns);
  const write = (at: number) => ({
    name: 'write',
    input: { filePath: `large-${at}.txt`, content: 'x'.repeat(MiB) },
  });
  system.respond(({ step }) =>
    step === 0 ? { tools: Array.from({ length: 18 }, (_, at) => write(at)) } : { text: ['written'] },
  );
  const { id } = await turns.enqueue({ conversation, text: 'write', policy: 'asking' });
  const followed = followAll(turns, id);
  for (let answered = 0; answered < 18; ) {
    const open = await eventually(async () => {
      const waiting = (await stored(id)).requests.filter(({ state, answer }) => state === 'open' && !answer);
      if (waiting.length === 0) throw new Error('nothing is asked');
      return waiting;
    }, 60_000);
    for (const { requestId, details: request } of open) {
      expect(bytes(request)).toBeLessThanOrEqual(maxRequestBytes);
      expect(request).toMatchObject({ permission: 'edit', patterns: [expect.stringContaining('large-')] });
      expect(await turns.answer(id, requestId, { kind: 'permission', reply: 'once' })).toBe(true);
      answered += 1;
    }
  }
  const { view } = await followed;
  expect(await stored(id)).toMatchObject({ status: 'completed', text: 'written', run: { epoch: 1 } });
  expect(view.requests.map(({ state }) => state)).toEqual(Array.from({ length: 18 }, () => 'answered'));
  await expectGoesOn(conversation);
}, 120_000);

describe('a write that MongoDB refuses for its size', () => {
  const writeError = (code: number) => ({
    ok: 1,
    n: 0,
    nModified: 0,
    writeErrors: [{ index: 0, code, errmsg: '' }],
  });
  /** Any update that stores a reply, however short. */
  const storesParts = ({ name, body }: MongoCommand) => {
    const [first] = name === 'update' ? (body.updates as { u: { $set?: { parts?: string } } }[]) : [];
    return (first?.u.$set?.parts ?? '[]') !== '[]';
  };
  let deployments = 0;

  /** A turn of a deployment of its own, whose database takes no reply. */
  async function refused(respond: Respond, reply: Doc, limits: Partial<TurnLimits> = {}) {
    deployments += 1;
    const prefix = `${system.options.prefix}-refused-${deployments}`;
    const proxy = await MongoReplyProxy.start(system.database(`refused_${deployments}`));
    const web = await system.connect({ prefix, mongo: proxy.url });
    const { hits } = proxy.replace({ at: storesParts, executed: false, reply, times: 1_000 });
    system.respond(respond);
    await web.work({ policies: { default: { ...system.policy, ...bare, limits } } });
    const conversation = await newConversation(web);
    const { id } = await web.enqueue({ conversation, text: 'go' });
    return { web, proxy, hits, conversation, id };
  }

  /** Ended by its first owner with nothing but its state; upstream nothing goes on, and the next turn runs. */
  async function expectBareEnd(
    { web, proxy, hits, conversation, id }: Awaited<ReturnType<typeof refused>>,
    end: object,
  ) {
    const { view } = await followAll(web, id);
    expect(view).toMatchObject({ status: (end as { status: string }).status, parts: [] });
    expect(await web.get(id)).toMatchObject({ ...end, parts: [], run: { epoch: 1, phase: 'finished' } });
    expect(hits.length).toBeGreaterThan(0);
    expect(system.model.turnRequests.filter(({ outcome }) => outcome === undefined)).toEqual([]);
    proxy.clear();
    system.respond(() => ({ text: ['next'] }));
    expect((await runTurn(web, conversation, 'next')).stored).toMatchObject({ text: 'next' });
    await web.close();
    await proxy.stop();
  }

  const hanging: Respond = () => ({ text: ['some ', 'text'], ending: 'hang' });
  const tooLarge = { status: 'error', error: { reason: 'turn_too_large' } };

  it.each([
    ['17419 of an update', writeError(17_419)],
    ['10334 of a document', errorReply(10_334)],
  ])('ends the turn while it runs: %s', async (_name, reply) => {
    await expectBareEnd(await refused(hanging, reply), tooLarge);
  });

  it('ends a turn whose answer is there', async () => {
    await expectBareEnd(await refused(() => ({ text: ['quick'] }), writeError(17_419)), tooLarge);
  });

  it('of any other kind that no repetition cures ends it, too', async () => {
    await expectBareEnd(await refused(() => ({ text: ['quick'] }), errorReply(121)), { status: 'error' });
  });

  it('does not hold up a cancel', async () => {
    const turn = await refused(
      ({ step }) => (step === 0 ? { text: ['quick'], ending: 'hang' } : undefined),
      errorReply(121),
    );
    for await (const entry of turn.web.follow(turn.id))
      if (entry.type === 'part' || entry.type === 'text') break;
    await turn.web.cancel(turn.id);
    await expectBareEnd(turn, { status: 'cancelled' });
  });

  it('does not hold up the time limit', async () => {
    const turn = await refused(hanging, errorReply(121), { turnTimeoutMs: 4_000 });
    await expectBareEnd(turn, { status: 'error', error: { reason: 'deadline_turn_timeout_ms' } });
  });
});
