/**
 * What every TurnStore owes the turn, whatever database is behind it. A host that writes one of its own runs this
 * suite over it.
 */
import { beforeAll, describe, expect, it } from '@jest/globals';
import { InvalidInputError, NotFoundError, OwnershipLostError, TurnBusyError } from '../../src/errors.ts';
import type { ClaimResult, NewTurn, TurnStore } from '../../src/ports/turn-store.ts';
import type { Usage } from '../../src/reply/part.ts';
import type { InputRequest, StoredTurn, TerminalPatch } from '../../src/turn/stored-turn.ts';
import { eventually } from '../support/eventually.ts';

export interface TurnStoreWorld {
  readonly store: TurnStore;
  /** A conversation without turns; answers its id. */
  conversation(): Promise<string>;
  /** Deletes a conversation, as a host does. */
  remove(conversationId: string): Promise<void>;
  /** An id of the right form that names nothing. */
  unknownId(): string;
  /** The same for a conversation, where those have ids of another kind. */
  unknownConversation?(): string;
}

const tokens = { input: 3, output: 5, reasoning: 1, cacheRead: 0, cacheWrite: 2 };
const usage: Usage = { ...tokens, cost: 0.25, steps: 2, children: { cost: 0, tokens } };

export const ended = (status: TerminalPatch['status'], more: Partial<TerminalPatch> = {}): TerminalPatch => ({
  status,
  run: { phase: 'finished' },
  durationMs: 12,
  finishedAt: 1_700_000_000_000,
  ...more,
});

export const question = (requestId: string, more: Partial<InputRequest> = {}): InputRequest => ({
  requestId,
  kind: 'question',
  sessionId: 'ses_1',
  details: { questions: [{ 'a.b': 1, $where: 'x' }] },
  askedAt: 5,
  state: 'open',
  ...more,
});

/** Keys and values that are operators, paths or magic names somewhere. */
export const hostile = {
  $set: { 'run.epoch': 99 },
  'a.b.c': { $ne: null },
  '': 'empty key',
  constructor: 'x',
  '\u0000nul': '\u0000',
  $$ROOT: ['$', '.', { '.': { $: 1 } }],
  emoji: '👩‍🚀\ud800',
  nothing: null,
};

export function turnStoreContract(open: () => Promise<TurnStoreWorld>): void {
  let world: TurnStoreWorld;
  let store: TurnStore;
  beforeAll(async () => {
    world = await open();
    store = world.store;
  });

  const unknownConversation = () => world.unknownConversation?.() ?? world.unknownId();
  const newTurn = (conversationId: string, more: Partial<NewTurn> = {}): NewTurn => ({
    conversationId,
    text: 'hello',
    policy: 'default',
    onBusy: 'enqueue',
    ...more,
  });
  const create = async (conversationId: string, more: Partial<NewTurn> = {}) =>
    (await store.create(newTurn(conversationId, more))).turn;
  const claimed = (result: ClaimResult) => {
    if (result.kind !== 'claimed') throw new Error(`not claimed: ${result.kind}`);
    return {
      turn: result.turn,
      conversation: result.conversation,
      fence: { turnId: result.turn.id, epoch: result.turn.run.epoch },
    };
  };
  const running = async (conversationId?: string) => {
    const turn = await create(conversationId ?? (await world.conversation()));
    return claimed(await store.claim(turn, 'one'));
  };
  const stored = async (id: string) => {
    const turn = await store.get(id);
    if (!turn) throw new Error(`no turn ${id}`);
    return turn;
  };

  describe('files that a user sent along', () => {
    const file = {
      fileId: '0123456789abcdef01234567',
      filename: 'ü.csv',
      contentType: 'text/csv',
      bytes: 3,
      sha256: 'abc',
      metadata: { source: 'upload', ...hostile },
    };

    it('stand with the turn under the id that their message was promised', async () => {
      const conversationId = await world.conversation();
      const messageId = store.newMessageId();
      expect(await store.stored([messageId, world.unknownId()])).toEqual(new Set());
      const created = await create(conversationId, { uploads: { messageId, files: [file] } });
      expect(created.uploads).toEqual([file]);
      expect((await store.get(created.id))?.uploads).toEqual([file]);
      expect(claimed(await store.claim(created, 'one')).turn.uploads).toEqual([file]);
      expect(await store.stored([messageId, world.unknownId()])).toEqual(new Set([messageId]));
    });

    it('are none of a turn without', async () => {
      expect((await create(await world.conversation())).uploads).toEqual([]);
    });
  });

  describe('create', () => {
    it('stores a pending, queued turn that get answers', async () => {
      const conversationId = await world.conversation();
      const carrier = { traceparent: '00-11-22-01' };
      const { turn, created } = await store.create(newTurn(conversationId, { text: 'Grüße 👩‍🚀', carrier }));
      expect(created).toBe(true);
      expect(turn).toMatchObject({
        conversationId,
        status: 'pending',
        policy: 'default',
        userText: 'Grüße 👩‍🚀',
        text: '',
        reasoning: '',
        parts: [],
        requests: [],
        artifacts: [],
        run: { phase: 'queued', epoch: 0, reruns: 0, resends: 0 },
        carrier,
      });
      expect(await store.get(turn.id)).toEqual(turn);
      expect(Math.abs(turn.createdAt - Date.now())).toBeLessThan(60_000);
    });

    it('gives concurrent turns of one conversation sequences without a gap, question and answer next to each other', async () => {
      const conversationId = await world.conversation();
      const turns = await Promise.all(
        Array.from({ length: 40 }, (_, n) => create(conversationId, { text: `text ${n}` })),
      );
      expect(turns.map(({ sequence }) => sequence).sort((a, b) => a - b)).toEqual(
        Array.from({ length: 40 }, (_, n) => 2 * n + 2),
      );
      expect(turns.map(({ userText }) => userText)).toEqual(turns.map((_, n) => `text ${n}`));
      expect(new Set(turns.map(({ id }) => id)).size).toBe(40);
    });

    it('makes one turn of twenty concurrent calls with one key, and tells one of them that it is new', async () => {
      const conversationId = await world.conversation();
      const results = await Promise.all(
        Array.from({ length: 20 }, () => store.create(newTurn(conversationId, { idempotencyKey: 'click' }))),
      );
      expect(new Set(results.map(({ turn }) => turn.id)).size).toBe(1);
      expect(results.filter(({ created }) => created)).toHaveLength(1);
      expect(await create(conversationId)).toMatchObject({ sequence: 4 });
    });

    it('keeps the first text of a key, and knows the key per conversation', async () => {
      const [one, other] = [await world.conversation(), await world.conversation()];
      const first = await create(one, { idempotencyKey: 'k', text: 'first' });
      expect(await create(one, { idempotencyKey: 'k', text: 'second' })).toEqual(first);
      expect((await create(other, { idempotencyKey: 'k' })).id).not.toBe(first.id);
    });

    it('refuses an unknown conversation and writes nothing', async () => {
      const id = unknownConversation();
      await expect(create(id)).rejects.toEqual(new NotFoundError('conversation', id));
      expect(await store.head(id)).toBeNull();
    });

    it('lets exactly one of twenty concurrent calls through that want to be refused when busy', async () => {
      const conversationId = await world.conversation();
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, () => store.create(newTurn(conversationId, { onBusy: 'reject' }))),
      );
      const won = results.filter((result) => result.status === 'fulfilled');
      expect(won).toHaveLength(1);
      for (const result of results)
        if (result.status === 'rejected')
          expect(result.reason).toEqual(new TurnBusyError(conversationId, won[0]?.value.turn.id ?? ''));
    });

    it('says of a turn that nothing is in front of it only when that is so', async () => {
      const conversationId = await world.conversation();
      const first = await store.create(newTurn(conversationId, { idempotencyKey: 'k' }));
      const second = await store.create(newTurn(conversationId));
      expect([first.first, second.first]).toEqual([true, false]);
      expect(await store.create(newTurn(conversationId, { idempotencyKey: 'k' }))).toMatchObject({
        first: false,
      });
      // The last one has ended, and one in front of it has not.
      await store.cancel(second.turn.id);
      expect((await store.create(newTurn(conversationId))).first).toBe(false);
      for (let turn = await store.head(conversationId); turn; turn = await store.head(conversationId))
        await store.cancel(turn.id);
      expect((await store.create(newTurn(conversationId))).first).toBe(true);
    });

    it('says so of at most one of forty concurrent ones, of the head', async () => {
      const conversationId = await world.conversation();
      const all = await Promise.all(Array.from({ length: 40 }, () => store.create(newTurn(conversationId))));
      const firsts = all.filter(({ first }) => first).map(({ turn }) => turn.id);
      expect(firsts).toEqual([(await store.head(conversationId))?.id]);
    });

    it('answers for the head what its job needs', async () => {
      const conversationId = await world.conversation();
      const carrier = { traceparent: '00-11-22-01' };
      const { id } = await create(conversationId, { carrier, policy: 'other' });
      await create(conversationId);
      expect(await store.head(conversationId)).toEqual({ id, conversationId, policy: 'other', carrier });
    });

    it('refuses operators in place of ids', async () => {
      for (const id of [{ $ne: null }, 'x'.repeat(201), '', 0.5, null, ['a'.repeat(24)]] as never[]) {
        await expect(store.get(id)).rejects.toThrow(InvalidInputError);
        await expect(store.head(id)).rejects.toThrow(InvalidInputError);
        await expect(store.conversation(id)).rejects.toThrow(InvalidInputError);
        await expect(store.claim({ id, conversationId: unknownConversation() }, 'one')).rejects.toThrow(
          InvalidInputError,
        );
        await expect(store.claim({ id: world.unknownId(), conversationId: id }, 'one')).rejects.toThrow(
          InvalidInputError,
        );
        await expect(store.control(id)).rejects.toThrow(InvalidInputError);
        await expect(store.cancel(id)).rejects.toThrow(InvalidInputError);
        await expect(create(id)).rejects.toThrow(InvalidInputError);
        await expect(store.write({ turnId: id, epoch: 0 }, {})).rejects.toThrow(InvalidInputError);
      }
    });
  });

  describe('claim', () => {
    it('raises the epoch each time and answers turn and conversation', async () => {
      const { turn, conversation } = await running();
      expect(turn.run).toMatchObject({ epoch: 1, owner: 'one', phase: 'queued' });
      expect(conversation.id).toBe(turn.conversationId);
      const again = claimed(await store.claim(turn, 'two'));
      expect(again.turn.run).toMatchObject({ epoch: 2, owner: 'two' });
    });

    it('keeps the time of the first one, whoever claims it afterwards, and before anything else is stored', async () => {
      const { turn } = await running();
      const { startedAt, claimedAt } = turn.run;
      expect(startedAt).toBe(claimedAt);
      await eventually(async () => {
        const { run } = claimed(await store.claim(turn, 'two')).turn;
        expect(run.claimedAt).toBeGreaterThan(claimedAt as number);
        expect(run.startedAt).toBe(startedAt);
      });
    });

    it('ends the time for which nobody knew its policy; that time is of all workers', async () => {
      const turn = await create(await world.conversation());
      expect(await store.policySoughtMs(turn.id)).toBe(0);
      await eventually(async () => expect(await store.policySoughtMs(turn.id)).toBeGreaterThan(5));
      expect((await stored(turn.id)).run).toEqual(turn.run);
      claimed(await store.claim(turn, 'one'));
      expect(await store.policySoughtMs(turn.id)).toBe(0);
      expect(await store.policySoughtMs(world.unknownId())).toBe(0);
    });

    it('gives twenty concurrent owners twenty epochs', async () => {
      const turn = await create(await world.conversation());
      const claims = await Promise.all(Array.from({ length: 20 }, (_, n) => store.claim(turn, `w${n}`)));
      const epochs = claims.map((result) => claimed(result).turn.run.epoch).sort((a, b) => a - b);
      expect(epochs).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
    });

    it("answers behind for a turn that is not its conversation's first, and lets it through when that one has ended", async () => {
      const conversationId = await world.conversation();
      const [first, second] = [await create(conversationId), await create(conversationId)];
      expect(await store.claim(second, 'one')).toEqual({ kind: 'behind', turnId: first.id });
      const { fence } = claimed(await store.claim(first, 'one'));
      expect(await store.claim(second, 'one')).toEqual({ kind: 'behind', turnId: first.id });
      expect((await stored(second.id)).run.epoch).toBe(0);
      await store.finish(fence, ended('completed'));
      expect((await store.head(conversationId))?.id).toBe(second.id);
      expect((await store.claim(second, 'one')).kind).toBe('claimed');
    });

    it('runs turns of different conversations side by side', async () => {
      const two = await Promise.all([running(), running()]);
      expect(two.map(({ fence }) => fence.epoch)).toEqual([1, 1]);
    });

    it('has nothing to do for a turn that has ended or never was', async () => {
      const { fence, turn } = await running();
      await store.finish(fence, ended('completed'));
      expect(await store.claim(turn, 'two')).toEqual({ kind: 'finished' });
      const unknown = { id: world.unknownId(), conversationId: turn.conversationId };
      expect(await store.claim(unknown, 'two')).toEqual({ kind: 'missing' });
      expect((await stored(turn.id)).run.epoch).toBe(1);
    });

    it('of a turn under the name of another conversation claims nothing', async () => {
      const [turn, other] = [
        await create(await world.conversation()),
        await create(await world.conversation()),
      ];
      for (const conversationId of [other.conversationId, await world.conversation(), unknownConversation()])
        expect(await store.claim({ id: turn.id, conversationId }, 'one')).toEqual({ kind: 'missing' });
      expect((await stored(turn.id)).run.epoch).toBe(0);
      expect((await stored(other.id)).run.epoch).toBe(0);
    });
  });

  describe('write', () => {
    it('takes away when upstream was last seen to be away', async () => {
      const { fence, turn } = await running();
      await store.write(fence, { run: { awaySince: 5 } });
      expect((await stored(turn.id)).run.awaySince).toBe(5);
      await store.write(fence, { run: { awaySince: null, phase: 'prompted' } });
      const { run } = await stored(turn.id);
      expect(run).not.toHaveProperty('awaySince');
      expect(run.phase).toBe('prompted');
    });

    it('replaces what the model was given as a whole, for whoever reads the turn and its next owner', async () => {
      const { fence, turn } = await running();
      expect(await stored(turn.id)).not.toHaveProperty('promptedWith');
      await store.write(fence, { promptedWith: { agent: 'build', system: '$one.two' } });
      const given = { model: 'a/b', variant: 'high', system: '' };
      await store.write(fence, { run: { phase: 'prompting' }, promptedWith: given });
      await store.write(fence, { run: { phase: 'prompted' } });
      expect((await stored(turn.id)).promptedWith).toEqual(given);
      expect(claimed(await store.claim(turn, 'two')).turn.promptedWith).toEqual(given);
    });

    it('merges run fields one by one and keeps what it does not name', async () => {
      const { fence, turn } = await running();
      await store.write(fence, { run: { phase: 'prompting', sessionId: 'ses_1', promptMessageId: 'msg_1' } });
      await store.write(fence, { run: { phase: 'prompted' }, text: 'half' });
      await store.write(fence, { usage, reasoning: 'because' });
      expect(await stored(turn.id)).toMatchObject({
        text: 'half',
        reasoning: 'because',
        usage,
        run: {
          phase: 'prompted',
          sessionId: 'ses_1',
          promptMessageId: 'msg_1',
          epoch: 1,
          owner: 'one',
          reruns: 0,
        },
      });
    });

    it('brings any JSON that a model or a tool can write back as it was', async () => {
      const { fence, turn } = await running();
      const part = {
        id: 'prt_1',
        messageId: 'msg_1',
        type: 'tool' as const,
        tool: 'write',
        callId: 'c',
        status: 'completed' as const,
        input: hostile,
        metadata: hostile,
      };
      const file = {
        fileId: 'f',
        filename: 'a.b$c',
        contentType: 'text/plain',
        bytes: 1,
        sha256: 'x',
        metadata: hostile,
      };
      await store.write(fence, {
        parts: [part] as never,
        artifacts: [file],
        request: question('que_1', { details: hostile }),
      });
      const { parts, artifacts, requests } = await stored(turn.id);
      expect(parts).toEqual([part]);
      expect(artifacts).toEqual([file]);
      expect(requests).toEqual([question('que_1', { details: hostile })]);
    });

    it('of an older epoch changes nothing and throws OwnershipLostError', async () => {
      const { fence, turn } = await running();
      await store.claim(turn, 'two');
      const before = await stored(turn.id);
      for (const patch of [
        {},
        { text: 'zombie' },
        { request: question('que_1') },
        { run: { phase: 'prompted' as const } },
      ])
        await expect(store.write(fence, patch)).rejects.toEqual(new OwnershipLostError(turn.id, 1));
      expect(await stored(turn.id)).toEqual(before);
    });

    it('after the end changes nothing and throws OwnershipLostError', async () => {
      const { fence, turn } = await running();
      await store.finish(fence, ended('completed', { text: 'all' }));
      await expect(store.write(fence, { text: 'late' })).rejects.toThrow(OwnershipLostError);
      expect((await stored(turn.id)).text).toBe('all');
    });

    it('changes the state of a stored prompt and never its answer', async () => {
      const { fence, turn } = await running();
      await store.write(fence, { request: question('que_1') });
      await store.write(fence, { request: question('que_2') });
      const answer = { kind: 'question' as const, answers: [['Blue']] };
      await store.answer(turn.id, 'que_1', answer);
      await store.write(fence, { request: question('que_1', { state: 'answered' }) });
      expect((await stored(turn.id)).requests).toEqual([
        question('que_1', { state: 'answered', answer }),
        question('que_2'),
      ]);
    });
  });

  describe('finish', () => {
    it('is terminal once, with everything that it says', async () => {
      const { fence, turn } = await running();
      const error = { reason: 'upstream_error', message: 'boom', name: 'APIError', statusCode: 500 } as const;
      expect(
        await store.finish(fence, ended('error', { error, text: 'sorry', usage, timeToFirstTokenMs: 4 })),
      ).toBe(true);
      expect(await stored(turn.id)).toMatchObject({
        status: 'error',
        error,
        text: 'sorry',
        usage,
        durationMs: 12,
        timeToFirstTokenMs: 4,
        finishedAt: 1_700_000_000_000,
        run: { phase: 'finished' },
      });
    });

    it('lets exactly one of ten concurrent ends through', async () => {
      const { fence, turn } = await running();
      const results = await Promise.all(
        Array.from({ length: 10 }, (_, n) =>
          store.finish(
            fence,
            ended(n % 2 ? 'completed' : 'cancelled', { text: `${n}`, finishedAt: 1_000 + n }),
          ),
        ),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      expect((await stored(turn.id)).text).toBe(String(results.indexOf(true)));
    });

    it('repeated after a lost answer is true again; another end of the same epoch is false', async () => {
      const { fence } = await running();
      const end = ended('completed', { text: 'all' });
      expect(await store.finish(fence, end)).toBe(true);
      expect(await store.finish(fence, end)).toBe(true);
      expect(await store.finish(fence, ended('cancelled', { finishedAt: 2 }))).toBe(false);
    });

    it('of an older epoch throws OwnershipLostError, before and after the newer one ended', async () => {
      const { fence, turn } = await running();
      const newer = claimed(await store.claim(turn, 'two'));
      await expect(store.finish(fence, ended('completed'))).rejects.toEqual(
        new OwnershipLostError(turn.id, 1),
      );
      expect((await stored(turn.id)).status).toBe('pending');
      await store.finish(newer.fence, ended('completed', { text: 'new' }));
      await expect(store.finish(fence, ended('error'))).rejects.toEqual(new OwnershipLostError(turn.id, 1));
      expect(await stored(turn.id)).toMatchObject({ status: 'completed', text: 'new' });
    });

    it('frees the conversation in the same write, also when it closes a prompt', async () => {
      const conversationId = await world.conversation();
      const { fence, turn } = await running(conversationId);
      const next = await create(conversationId);
      await store.write(fence, { request: question('que_1') });
      await store.finish(fence, ended('completed', { request: question('que_1', { state: 'closed' }) }));
      expect((await stored(turn.id)).requests).toEqual([question('que_1', { state: 'closed' })]);
      expect((await store.claim(next, 'two')).kind).toBe('claimed');
    });
  });

  describe('amend', () => {
    it('adds to a finished message, by the epoch that finished it only', async () => {
      const { fence, turn } = await running();
      const file = {
        fileId: 'f',
        filename: 'a',
        contentType: 'text/plain',
        bytes: 1,
        sha256: 'x',
        metadata: {},
      };
      await expect(store.amend(fence, { artifacts: [file] })).rejects.toThrow(OwnershipLostError);
      await store.finish(fence, ended('completed', { text: 'all' }));
      await expect(store.amend({ ...fence, epoch: 2 }, { artifacts: [] })).rejects.toThrow(
        OwnershipLostError,
      );
      await store.amend(fence, { artifacts: [file] });
      expect(await stored(turn.id)).toMatchObject({ status: 'completed', text: 'all', artifacts: [file] });
    });
  });

  describe('cancel', () => {
    it('of a turn that nobody has claimed is terminal at once', async () => {
      const conversationId = await world.conversation();
      const [first, second] = [await create(conversationId), await create(conversationId)];
      expect(await store.cancel(first.id)).toBe('cancelled');
      const turn = await stored(first.id);
      expect(turn).toMatchObject({ status: 'cancelled', run: { phase: 'finished', epoch: 0 } });
      expect(turn.finishedAt).toBeGreaterThanOrEqual(turn.createdAt);
      expect(await store.claim(first, 'one')).toEqual({ kind: 'finished' });
      expect((await store.head(conversationId))?.id).toBe(second.id);
      expect(await store.cancel(first.id)).toBe('finished');
    });

    it("of a running one is a stored request, whose time is the first one's", async () => {
      const { turn, fence } = await running();
      expect(await store.cancel(turn.id)).toBe('requested');
      const { run } = await stored(turn.id);
      expect(run.cancelRequestedAt).toBeGreaterThan(0);
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(await store.cancel(turn.id)).toBe('requested');
      expect((await stored(turn.id)).run).toEqual(run);
      await store.write(fence, { run: { phase: 'prompted' } });
      expect((await stored(turn.id)).run.cancelRequestedAt).toBe(run.cancelRequestedAt);
      await store.finish(fence, ended('cancelled'));
      expect(await store.cancel(turn.id)).toBe('finished');
    });

    it('against a claim: exactly one of the two has the turn', async () => {
      const conversationIds = await Promise.all(Array.from({ length: 20 }, () => world.conversation()));
      const kinds = await Promise.all(
        conversationIds.map(async (conversationId) => {
          const { id } = await create(conversationId);
          const [cancel, claim] = await Promise.all([
            store.cancel(id),
            store.claim({ id, conversationId }, 'one'),
          ]);
          const { status, run } = await stored(id);
          if (cancel === 'cancelled')
            expect({ kind: claim.kind, status }).toEqual({ kind: 'finished', status: 'cancelled' });
          else {
            expect({ kind: claim.kind, status }).toEqual({ kind: 'claimed', status: 'pending' });
            expect(run.cancelRequestedAt).toBeGreaterThan(0);
          }
          return cancel;
        }),
      );
      expect(kinds).toHaveLength(20);
    });

    it('of no turn throws NotFoundError', async () => {
      const id = world.unknownId();
      await expect(store.cancel(id)).rejects.toEqual(new NotFoundError('turn', id));
    });
  });

  describe('answer', () => {
    const reject = { kind: 'reject' as const };

    it('stores the first of ten concurrent answers and refuses the others', async () => {
      const { turn, fence } = await running();
      await store.write(fence, { request: question('que_1') });
      const results = await Promise.all(
        Array.from({ length: 10 }, (_, n) =>
          store.answer(turn.id, 'que_1', { kind: 'question', answers: [[`${n}`]] }),
        ),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      const [prompt] = (await stored(turn.id)).requests;
      expect(prompt).toMatchObject({ state: 'open', answer: { answers: [[`${results.indexOf(true)}`]] } });
    });

    it('and a cancel are what the owner reads as control', async () => {
      const { turn, fence } = await running();
      await store.write(fence, { request: question('que_1'), text: 'half' });
      await store.answer(turn.id, 'que_1', reject);
      await store.cancel(turn.id);
      const { run, requests, status } = await stored(turn.id);
      expect(run.cancelRequestedAt).toBeGreaterThan(0);
      expect(requests).toEqual([question('que_1', { answer: reject })]);
      expect(await store.control(turn.id)).toEqual({ run, requests, status });
      expect(await store.control(world.unknownId())).toBeNull();
    });

    it('touches only the prompt that it names', async () => {
      const { turn, fence } = await running();
      for (const id of ['que_1', 'que_2', 'que_3']) await store.write(fence, { request: question(id) });
      await store.write(fence, { request: question('que_1', { state: 'closed' }) });
      expect(await store.answer(turn.id, 'que_2', reject)).toBe(true);
      expect((await stored(turn.id)).requests.map(({ answer }) => answer)).toEqual([
        undefined,
        reject,
        undefined,
      ]);
    });

    it('is false for a closed prompt and after the end', async () => {
      const { turn, fence } = await running();
      await store.write(fence, { request: question('que_1', { state: 'closed' }) });
      await store.write(fence, { request: question('que_2') });
      expect(await store.answer(turn.id, 'que_1', reject)).toBe(false);
      await store.finish(fence, ended('completed'));
      expect(await store.answer(turn.id, 'que_2', reject)).toBe(false);
    });

    it('of nothing throws NotFoundError, and of an operator InvalidInputError', async () => {
      const { turn, fence } = await running();
      await store.write(fence, { request: question('que_1') });
      await expect(store.answer(turn.id, 'que_9', reject)).rejects.toEqual(
        new NotFoundError('request', 'que_9'),
      );
      const unknown = world.unknownId();
      await expect(store.answer(unknown, 'que_1', reject)).rejects.toEqual(
        new NotFoundError('turn', unknown),
      );
      await expect(store.answer(turn.id, { $ne: '' } as never, reject)).rejects.toThrow(InvalidInputError);
      expect((await stored(turn.id)).requests[0]?.answer).toBeUndefined();
    });
  });

  describe('pending', () => {
    const waiting = ({ id, conversationId, policy, createdAt }: StoredTurn) => ({
      id,
      conversationId,
      policy,
      createdAt,
      hasControl: false,
    });

    it('answers unfinished turns created before a time, oldest first, within the limit', async () => {
      const conversationId = await world.conversation();
      const before = Date.now() - 1;
      const turns: StoredTurn[] = [];
      for (const text of ['one', 'two', 'three']) {
        turns.push(await create(conversationId, { text }));
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      await store.cancel(turns[1]?.id ?? '');
      const ofConversation = async (time: number, limit: number) =>
        (await store.pending(time, limit)).filter((turn) => turn.conversationId === conversationId);
      expect(await ofConversation(Date.now() + 1, 10_000)).toEqual(
        [turns[0], turns[2]].map((turn) => waiting(turn as StoredTurn)),
      );
      expect(await ofConversation(before, 10_000)).toEqual([]);
      expect(await store.pending(Date.now() + 1, 1)).toHaveLength(1);
    });

    it('goes on behind a turn: every page is new, and none is left out', async () => {
      const conversationId = await world.conversation();
      for (let n = 0; n < 7; n += 1) await create(conversationId, { text: String(n) });
      const until = Date.now() + 60_000;
      const whole = await store.pending(until, 10_000);
      const paged = [];
      for (let after: (typeof whole)[number] | undefined; ; ) {
        const page = await store.pending(until, 3, after);
        paged.push(...page);
        after = page.at(-1);
        if (page.length < 3) break;
      }
      expect(paged).toEqual(whole);
    });

    it('tells of control that waits', async () => {
      const { fence, turn } = await running();
      const control = async () =>
        (await store.pending(Date.now() + 60_000, 10_000)).find(({ id }) => id === turn.id)?.hasControl;
      await store.write(fence, { request: question('que_1') });
      expect(await control()).toBe(false);
      await store.answer(turn.id, 'que_1', { kind: 'reject' });
      expect(await control()).toBe(true);
      await store.write(fence, { request: question('que_1', { state: 'rejected' }) });
      expect(await control()).toBe(false);
      await store.cancel(turn.id);
      expect(await control()).toBe(true);
    });
  });

  describe('a turn whose conversation is gone', () => {
    const failure = { reason: 'conversation_gone', message: 'x' } as const;

    it('is not claimed, and ends once', async () => {
      const conversationId = await world.conversation();
      const turn = await create(conversationId);
      expect(await store.abandon(turn.id, failure)).toBeNull();
      await world.remove(conversationId);
      expect(await store.claim(turn, 'one')).toEqual({ kind: 'conversation-deleted' });
      const both = await Promise.all([store.abandon(turn.id, failure), store.abandon(turn.id, failure)]);
      expect(both.filter((ended) => ended !== null)).toHaveLength(1);
      expect(await store.get(turn.id)).toMatchObject({
        status: 'error',
        error: failure,
        finishedAt: expect.any(Number),
        run: { phase: 'finished', epoch: 1 },
      });
      expect(await store.claim(turn, 'one')).toEqual({ kind: 'finished' });
    });

    it('is to be told by one caller, and by another one when he has not in his time', async () => {
      const conversationId = await world.conversation();
      const turn = await create(conversationId);
      const isUntold = async () =>
        (await store.unannounced(Date.now() + 60_000, 10_000)).some(({ id }) => id === turn.id);
      expect([await isUntold(), await store.takeUnannounced(turn.id, 60_000)]).toEqual([false, null]);
      await world.remove(conversationId);
      await store.abandon(turn.id, failure);
      expect(await isUntold()).toBe(true);
      const both = await Promise.all([store.takeUnannounced(turn.id, 0), store.takeUnannounced(turn.id, 0)]);
      expect(both).toContainEqual(expect.objectContaining({ id: turn.id, status: 'error', error: failure }));
      // His time is over at once; another one has more.
      await eventually(async () =>
        expect(await store.takeUnannounced(turn.id, 60_000)).toMatchObject({ id: turn.id }),
      );
      expect([await isUntold(), await store.takeUnannounced(turn.id, 60_000)]).toEqual([false, null]);
      await store.announced(turn.id);
      await store.announced(turn.id);
      expect([await isUntold(), await store.takeUnannounced(turn.id, 60_000)]).toEqual([false, null]);
      expect(await store.get(turn.id)).not.toHaveProperty('run.announceFrom');
    });

    it('is taken from whoever had it', async () => {
      const conversationId = await world.conversation();
      const { fence } = await running(conversationId);
      await world.remove(conversationId);
      expect(await store.abandon(fence.turnId, failure)).toMatchObject({ run: { epoch: fence.epoch + 1 } });
      await expect(store.write(fence, { text: 'late' })).rejects.toThrow(OwnershipLostError);
      await expect(store.finish(fence, ended('completed'))).rejects.toThrow(OwnershipLostError);
    });
  });

  it('conversation answers title and document, or null', async () => {
    const conversationId = await world.conversation();
    expect(await store.conversation(conversationId)).toMatchObject({
      id: conversationId,
      title: expect.any(String),
    });
    expect(await store.conversation(unknownConversation())).toBeNull();
  });
}
