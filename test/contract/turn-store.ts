/**
 * What every TurnStore owes the turn, whatever database is behind it. A host that writes one of its own runs this
 * suite over it.
 */
import { beforeAll, describe, expect, it } from '@jest/globals';
import { InvalidInputError, LeaseLostError, NotFoundError, TurnBusyError } from '../../src/errors.ts';
import type { ClaimResult, NewTurn, TurnStore } from '../../src/ports/turn-store.ts';
import type { Usage } from '../../src/reply/part.ts';
import type { StoredPrompt, StoredTurn, TerminalPatch } from '../../src/turn/stored-turn.ts';
import { eventually } from '../support/eventually.ts';

export interface TurnStoreWorld {
  readonly store: TurnStore;
  /** A record without turns; answers its id. */
  record(): Promise<string>;
  /** Deletes a record, as a host does. */
  remove(recordId: string): Promise<void>;
  /** An id of the right form that names nothing. */
  unknownId(): string;
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

export const question = (requestId: string, more: Partial<StoredPrompt> = {}): StoredPrompt => ({
  requestId,
  kind: 'question',
  sessionId: 'ses_1',
  request: { questions: [{ 'a.b': 1, $where: 'x' }] },
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

  const newTurn = (recordId: string, more: Partial<NewTurn> = {}): NewTurn => ({
    recordId,
    text: 'hello',
    policy: 'default',
    onBusy: 'enqueue',
    ...more,
  });
  const create = async (recordId: string, more: Partial<NewTurn> = {}) =>
    (await store.create(newTurn(recordId, more))).turn;
  const claimed = (result: ClaimResult) => {
    if (result.kind !== 'claimed') throw new Error(`not claimed: ${result.kind}`);
    return {
      turn: result.turn,
      record: result.record,
      fence: { turnId: result.turn.id, epoch: result.turn.run.epoch },
    };
  };
  const running = async (recordId?: string) => {
    const turn = await create(recordId ?? (await world.record()));
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
      const recordId = await world.record();
      const messageId = store.newMessageId();
      expect(await store.stored([messageId, world.unknownId()])).toEqual(new Set());
      const created = await create(recordId, { uploads: { messageId, files: [file] } });
      expect(created.uploads).toEqual([file]);
      expect((await store.get(created.id))?.uploads).toEqual([file]);
      expect(claimed(await store.claim(created, 'one')).turn.uploads).toEqual([file]);
      expect(await store.stored([messageId, world.unknownId()])).toEqual(new Set([messageId]));
    });

    it('are none of a turn without', async () => {
      expect((await create(await world.record())).uploads).toEqual([]);
    });
  });

  describe('create', () => {
    it('stores a pending, queued turn that get answers', async () => {
      const recordId = await world.record();
      const carrier = { traceparent: '00-11-22-01' };
      const { turn, created } = await store.create(newTurn(recordId, { text: 'Grüße 👩‍🚀', carrier }));
      expect(created).toBe(true);
      expect(turn).toMatchObject({
        recordId,
        status: 'pending',
        policy: 'default',
        userText: 'Grüße 👩‍🚀',
        content: '',
        reasoning: '',
        parts: [],
        prompts: [],
        artifacts: [],
        run: { phase: 'queued', epoch: 0, reruns: 0, resends: 0 },
        carrier,
      });
      expect(await store.get(turn.id)).toEqual(turn);
      expect(Math.abs(turn.createdAt - Date.now())).toBeLessThan(60_000);
    });

    it('gives concurrent turns of one record sequences without a gap, question and answer next to each other', async () => {
      const recordId = await world.record();
      const turns = await Promise.all(
        Array.from({ length: 40 }, (_, n) => create(recordId, { text: `text ${n}` })),
      );
      expect(turns.map(({ sequence }) => sequence).sort((a, b) => a - b)).toEqual(
        Array.from({ length: 40 }, (_, n) => 2 * n + 2),
      );
      expect(turns.map(({ userText }) => userText)).toEqual(turns.map((_, n) => `text ${n}`));
      expect(new Set(turns.map(({ id }) => id)).size).toBe(40);
    });

    it('makes one turn of twenty concurrent calls with one key, and tells one of them that it is new', async () => {
      const recordId = await world.record();
      const results = await Promise.all(
        Array.from({ length: 20 }, () => store.create(newTurn(recordId, { idempotencyKey: 'click' }))),
      );
      expect(new Set(results.map(({ turn }) => turn.id)).size).toBe(1);
      expect(results.filter(({ created }) => created)).toHaveLength(1);
      expect(await create(recordId)).toMatchObject({ sequence: 4 });
    });

    it('keeps the first text of a key, and knows the key per record', async () => {
      const [one, other] = [await world.record(), await world.record()];
      const first = await create(one, { idempotencyKey: 'k', text: 'first' });
      expect(await create(one, { idempotencyKey: 'k', text: 'second' })).toEqual(first);
      expect((await create(other, { idempotencyKey: 'k' })).id).not.toBe(first.id);
    });

    it('refuses an unknown record and writes nothing', async () => {
      const id = world.unknownId();
      await expect(create(id)).rejects.toEqual(new NotFoundError('record', id));
      expect(await store.head(id)).toBeNull();
    });

    it('lets exactly one of twenty concurrent calls through that want to be refused when busy', async () => {
      const recordId = await world.record();
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, () => store.create(newTurn(recordId, { onBusy: 'reject' }))),
      );
      const won = results.filter((result) => result.status === 'fulfilled');
      expect(won).toHaveLength(1);
      for (const result of results)
        if (result.status === 'rejected')
          expect(result.reason).toEqual(new TurnBusyError(recordId, won[0]?.value.turn.id ?? ''));
    });

    it('says of a turn that nothing is in front of it only when that is so', async () => {
      const recordId = await world.record();
      const first = await store.create(newTurn(recordId, { idempotencyKey: 'k' }));
      const second = await store.create(newTurn(recordId));
      expect([first.first, second.first]).toEqual([true, false]);
      expect(await store.create(newTurn(recordId, { idempotencyKey: 'k' }))).toMatchObject({ first: false });
      // The last one has ended, and one in front of it has not.
      await store.cancel(second.turn.id);
      expect((await store.create(newTurn(recordId))).first).toBe(false);
      for (let turn = await store.head(recordId); turn; turn = await store.head(recordId))
        await store.cancel(turn.id);
      expect((await store.create(newTurn(recordId))).first).toBe(true);
    });

    it('says so of at most one of forty concurrent ones, of the head', async () => {
      const recordId = await world.record();
      const all = await Promise.all(Array.from({ length: 40 }, () => store.create(newTurn(recordId))));
      const firsts = all.filter(({ first }) => first).map(({ turn }) => turn.id);
      expect(firsts).toEqual([(await store.head(recordId))?.id]);
    });

    it('answers for the head what its job needs', async () => {
      const recordId = await world.record();
      const carrier = { traceparent: '00-11-22-01' };
      const { id } = await create(recordId, { carrier, policy: 'other' });
      await create(recordId);
      expect(await store.head(recordId)).toEqual({ id, recordId, policy: 'other', carrier });
    });

    it('refuses operators in place of ids', async () => {
      for (const id of [{ $ne: null }, 'x', '', 5, null, ['a'.repeat(24)]] as never[]) {
        await expect(store.get(id)).rejects.toThrow(InvalidInputError);
        await expect(store.head(id)).rejects.toThrow(InvalidInputError);
        await expect(store.record(id)).rejects.toThrow(InvalidInputError);
        await expect(store.claim({ id, recordId: world.unknownId() }, 'one')).rejects.toThrow(
          InvalidInputError,
        );
        await expect(store.claim({ id: world.unknownId(), recordId: id }, 'one')).rejects.toThrow(
          InvalidInputError,
        );
        await expect(store.wishes(id)).rejects.toThrow(InvalidInputError);
        await expect(store.cancel(id)).rejects.toThrow(InvalidInputError);
        await expect(create(id)).rejects.toThrow(InvalidInputError);
        await expect(store.write({ turnId: id, epoch: 0 }, {})).rejects.toThrow(InvalidInputError);
      }
    });
  });

  describe('claim', () => {
    it('raises the epoch each time and answers turn and record', async () => {
      const { turn, record } = await running();
      expect(turn.run).toMatchObject({ epoch: 1, owner: 'one', phase: 'queued' });
      expect(record.id).toBe(turn.recordId);
      const again = claimed(await store.claim(turn, 'two'));
      expect(again.turn.run).toMatchObject({ epoch: 2, owner: 'two' });
    });

    it('gives twenty concurrent owners twenty epochs', async () => {
      const turn = await create(await world.record());
      const claims = await Promise.all(Array.from({ length: 20 }, (_, n) => store.claim(turn, `w${n}`)));
      const epochs = claims.map((result) => claimed(result).turn.run.epoch).sort((a, b) => a - b);
      expect(epochs).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
    });

    it("answers behind for a turn that is not its record's first, and lets it through when that one has ended", async () => {
      const recordId = await world.record();
      const [first, second] = [await create(recordId), await create(recordId)];
      expect(await store.claim(second, 'one')).toEqual({ kind: 'behind', turnId: first.id });
      const { fence } = claimed(await store.claim(first, 'one'));
      expect(await store.claim(second, 'one')).toEqual({ kind: 'behind', turnId: first.id });
      expect((await stored(second.id)).run.epoch).toBe(0);
      await store.finish(fence, ended('completed'));
      expect((await store.head(recordId))?.id).toBe(second.id);
      expect((await store.claim(second, 'one')).kind).toBe('claimed');
    });

    it('runs turns of different records side by side', async () => {
      const two = await Promise.all([running(), running()]);
      expect(two.map(({ fence }) => fence.epoch)).toEqual([1, 1]);
    });

    it('has nothing to do for a turn that has ended or never was', async () => {
      const { fence, turn } = await running();
      await store.finish(fence, ended('completed'));
      expect(await store.claim(turn, 'two')).toEqual({ kind: 'finished' });
      const unknown = { id: world.unknownId(), recordId: turn.recordId };
      expect(await store.claim(unknown, 'two')).toEqual({ kind: 'missing' });
      expect((await stored(turn.id)).run.epoch).toBe(1);
    });

    it('of a turn under the name of another record claims nothing', async () => {
      const [turn, other] = [await create(await world.record()), await create(await world.record())];
      for (const recordId of [other.recordId, await world.record(), world.unknownId()])
        expect(await store.claim({ id: turn.id, recordId }, 'one')).toEqual({ kind: 'missing' });
      expect((await stored(turn.id)).run.epoch).toBe(0);
      expect((await stored(other.id)).run.epoch).toBe(0);
    });
  });

  describe('write', () => {
    it('merges run fields one by one and keeps what it does not name', async () => {
      const { fence, turn } = await running();
      await store.write(fence, { run: { phase: 'prompting', sessionId: 'ses_1', promptMessageId: 'msg_1' } });
      await store.write(fence, { run: { phase: 'prompted' }, content: 'half' });
      await store.write(fence, { usage, reasoning: 'because' });
      expect(await stored(turn.id)).toMatchObject({
        content: 'half',
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
        prompt: question('que_1', { request: hostile }),
      });
      const { parts, artifacts, prompts } = await stored(turn.id);
      expect(parts).toEqual([part]);
      expect(artifacts).toEqual([file]);
      expect(prompts).toEqual([question('que_1', { request: hostile })]);
    });

    it('of an older epoch changes nothing and throws LeaseLostError', async () => {
      const { fence, turn } = await running();
      await store.claim(turn, 'two');
      const before = await stored(turn.id);
      for (const patch of [
        {},
        { content: 'zombie' },
        { prompt: question('que_1') },
        { run: { phase: 'prompted' as const } },
      ])
        await expect(store.write(fence, patch)).rejects.toEqual(new LeaseLostError(turn.id, 1));
      expect(await stored(turn.id)).toEqual(before);
    });

    it('after the end changes nothing and throws LeaseLostError', async () => {
      const { fence, turn } = await running();
      await store.finish(fence, ended('completed', { content: 'all' }));
      await expect(store.write(fence, { content: 'late' })).rejects.toThrow(LeaseLostError);
      expect((await stored(turn.id)).content).toBe('all');
    });

    it('changes the state of a stored prompt and never its answer', async () => {
      const { fence, turn } = await running();
      await store.write(fence, { prompt: question('que_1') });
      await store.write(fence, { prompt: question('que_2') });
      const answer = { kind: 'question' as const, answers: [['Blue']] };
      await store.answer(turn.id, 'que_1', answer);
      await store.write(fence, { prompt: question('que_1', { state: 'answered' }) });
      expect((await stored(turn.id)).prompts).toEqual([
        question('que_1', { state: 'answered', answer }),
        question('que_2'),
      ]);
    });
  });

  describe('finish', () => {
    it('is terminal once, with everything that it says', async () => {
      const { fence, turn } = await running();
      const error = { reason: 'upstream_error', message: 'boom', name: 'APIError', statusCode: 500 };
      expect(
        await store.finish(fence, ended('error', { error, content: 'sorry', usage, timeToFirstTokenMs: 4 })),
      ).toBe(true);
      expect(await stored(turn.id)).toMatchObject({
        status: 'error',
        error,
        content: 'sorry',
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
            ended(n % 2 ? 'completed' : 'cancelled', { content: `${n}`, finishedAt: 1_000 + n }),
          ),
        ),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      expect((await stored(turn.id)).content).toBe(String(results.indexOf(true)));
    });

    it('repeated after a lost answer is true again; another end of the same epoch is false', async () => {
      const { fence } = await running();
      const end = ended('completed', { content: 'all' });
      expect(await store.finish(fence, end)).toBe(true);
      expect(await store.finish(fence, end)).toBe(true);
      expect(await store.finish(fence, ended('cancelled', { finishedAt: 2 }))).toBe(false);
    });

    it('of an older epoch throws LeaseLostError, before and after the newer one ended', async () => {
      const { fence, turn } = await running();
      const newer = claimed(await store.claim(turn, 'two'));
      await expect(store.finish(fence, ended('completed'))).rejects.toEqual(new LeaseLostError(turn.id, 1));
      expect((await stored(turn.id)).status).toBe('pending');
      await store.finish(newer.fence, ended('completed', { content: 'new' }));
      await expect(store.finish(fence, ended('error'))).rejects.toEqual(new LeaseLostError(turn.id, 1));
      expect(await stored(turn.id)).toMatchObject({ status: 'completed', content: 'new' });
    });

    it('frees the record in the same write, also when it closes a prompt', async () => {
      const recordId = await world.record();
      const { fence, turn } = await running(recordId);
      const next = await create(recordId);
      await store.write(fence, { prompt: question('que_1') });
      await store.finish(fence, ended('completed', { prompt: question('que_1', { state: 'closed' }) }));
      expect((await stored(turn.id)).prompts).toEqual([question('que_1', { state: 'closed' })]);
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
      await expect(store.amend(fence, { artifacts: [file] })).rejects.toThrow(LeaseLostError);
      await store.finish(fence, ended('completed', { content: 'all' }));
      await expect(store.amend({ ...fence, epoch: 2 }, { artifacts: [] })).rejects.toThrow(LeaseLostError);
      await store.amend(fence, { artifacts: [file] });
      expect(await stored(turn.id)).toMatchObject({ status: 'completed', content: 'all', artifacts: [file] });
    });
  });

  describe('cancel', () => {
    it('of a turn that nobody has claimed is terminal at once', async () => {
      const recordId = await world.record();
      const [first, second] = [await create(recordId), await create(recordId)];
      expect(await store.cancel(first.id)).toBe('cancelled');
      const turn = await stored(first.id);
      expect(turn).toMatchObject({ status: 'cancelled', run: { phase: 'finished', epoch: 0 } });
      expect(turn.finishedAt).toBeGreaterThanOrEqual(turn.createdAt);
      expect(await store.claim(first, 'one')).toEqual({ kind: 'finished' });
      expect((await store.head(recordId))?.id).toBe(second.id);
      expect(await store.cancel(first.id)).toBe('finished');
    });

    it("of a running one is a wish, whose time is the first one's", async () => {
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
      const recordIds = await Promise.all(Array.from({ length: 20 }, () => world.record()));
      const kinds = await Promise.all(
        recordIds.map(async (recordId) => {
          const { id } = await create(recordId);
          const [cancel, claim] = await Promise.all([store.cancel(id), store.claim({ id, recordId }, 'one')]);
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
      await store.write(fence, { prompt: question('que_1') });
      const results = await Promise.all(
        Array.from({ length: 10 }, (_, n) =>
          store.answer(turn.id, 'que_1', { kind: 'question', answers: [[`${n}`]] }),
        ),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      const [prompt] = (await stored(turn.id)).prompts;
      expect(prompt).toMatchObject({ state: 'open', answer: { answers: [[`${results.indexOf(true)}`]] } });
    });

    it('and a cancel are what the owner reads as wishes', async () => {
      const { turn, fence } = await running();
      await store.write(fence, { prompt: question('que_1'), content: 'half' });
      await store.answer(turn.id, 'que_1', reject);
      await store.cancel(turn.id);
      const { run, prompts } = await stored(turn.id);
      expect(run.cancelRequestedAt).toBeGreaterThan(0);
      expect(prompts).toEqual([question('que_1', { answer: reject })]);
      expect(await store.wishes(turn.id)).toEqual({ run, prompts });
      expect(await store.wishes(world.unknownId())).toBeNull();
    });

    it('touches only the prompt that it names', async () => {
      const { turn, fence } = await running();
      for (const id of ['que_1', 'que_2', 'que_3']) await store.write(fence, { prompt: question(id) });
      await store.write(fence, { prompt: question('que_1', { state: 'closed' }) });
      expect(await store.answer(turn.id, 'que_2', reject)).toBe(true);
      expect((await stored(turn.id)).prompts.map(({ answer }) => answer)).toEqual([
        undefined,
        reject,
        undefined,
      ]);
    });

    it('is false for a closed prompt and after the end', async () => {
      const { turn, fence } = await running();
      await store.write(fence, { prompt: question('que_1', { state: 'closed' }) });
      await store.write(fence, { prompt: question('que_2') });
      expect(await store.answer(turn.id, 'que_1', reject)).toBe(false);
      await store.finish(fence, ended('completed'));
      expect(await store.answer(turn.id, 'que_2', reject)).toBe(false);
    });

    it('of nothing throws NotFoundError, and of an operator InvalidInputError', async () => {
      const { turn, fence } = await running();
      await store.write(fence, { prompt: question('que_1') });
      await expect(store.answer(turn.id, 'que_9', reject)).rejects.toEqual(
        new NotFoundError('prompt', 'que_9'),
      );
      const unknown = world.unknownId();
      await expect(store.answer(unknown, 'que_1', reject)).rejects.toEqual(
        new NotFoundError('turn', unknown),
      );
      await expect(store.answer(turn.id, { $ne: '' } as never, reject)).rejects.toThrow(InvalidInputError);
      expect((await stored(turn.id)).prompts[0]?.answer).toBeUndefined();
    });
  });

  describe('pending', () => {
    const waiting = ({ id, recordId, policy, createdAt }: StoredTurn) => ({
      id,
      recordId,
      policy,
      createdAt,
      hasWish: false,
    });

    it('answers unfinished turns created before a time, oldest first, within the limit', async () => {
      const recordId = await world.record();
      const before = Date.now() - 1;
      const turns: StoredTurn[] = [];
      for (const text of ['one', 'two', 'three']) {
        turns.push(await create(recordId, { text }));
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      await store.cancel(turns[1]?.id ?? '');
      const ofRecord = async (time: number, limit: number) =>
        (await store.pending(time, limit)).filter((turn) => turn.recordId === recordId);
      expect(await ofRecord(Date.now() + 1, 10_000)).toEqual(
        [turns[0], turns[2]].map((turn) => waiting(turn as StoredTurn)),
      );
      expect(await ofRecord(before, 10_000)).toEqual([]);
      expect(await store.pending(Date.now() + 1, 1)).toHaveLength(1);
    });

    it('goes on behind a turn: every page is new, and none is left out', async () => {
      const recordId = await world.record();
      for (let n = 0; n < 7; n += 1) await create(recordId, { text: String(n) });
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

    it('tells of wishes that wait', async () => {
      const { fence, turn } = await running();
      const wish = async () =>
        (await store.pending(Date.now() + 60_000, 10_000)).find(({ id }) => id === turn.id)?.hasWish;
      await store.write(fence, { prompt: question('que_1') });
      expect(await wish()).toBe(false);
      await store.answer(turn.id, 'que_1', { kind: 'reject' });
      expect(await wish()).toBe(true);
      await store.write(fence, { prompt: question('que_1', { state: 'rejected' }) });
      expect(await wish()).toBe(false);
      await store.cancel(turn.id);
      expect(await wish()).toBe(true);
    });
  });

  describe('a turn whose record is gone', () => {
    const failure = { reason: 'record_gone', message: 'x' };

    it('is not claimed, and ends once', async () => {
      const recordId = await world.record();
      const turn = await create(recordId);
      expect(await store.abandon(turn.id, failure)).toBeNull();
      await world.remove(recordId);
      expect(await store.claim(turn, 'one')).toEqual({ kind: 'recordless' });
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
      const recordId = await world.record();
      const turn = await create(recordId);
      const isUntold = async () =>
        (await store.untold(Date.now() + 60_000, 10_000)).some(({ id }) => id === turn.id);
      expect([await isUntold(), await store.takeUntold(turn.id, 60_000)]).toEqual([false, null]);
      await world.remove(recordId);
      await store.abandon(turn.id, failure);
      expect(await isUntold()).toBe(true);
      const both = await Promise.all([store.takeUntold(turn.id, 0), store.takeUntold(turn.id, 0)]);
      expect(both).toContainEqual(expect.objectContaining({ id: turn.id, status: 'error', error: failure }));
      // His time is over at once; another one has more.
      await eventually(async () =>
        expect(await store.takeUntold(turn.id, 60_000)).toMatchObject({ id: turn.id }),
      );
      expect([await isUntold(), await store.takeUntold(turn.id, 60_000)]).toEqual([false, null]);
      await store.told(turn.id);
      await store.told(turn.id);
      expect([await isUntold(), await store.takeUntold(turn.id, 60_000)]).toEqual([false, null]);
      expect(await store.get(turn.id)).not.toHaveProperty('run.tellFrom');
    });

    it('is taken from whoever had it', async () => {
      const recordId = await world.record();
      const { fence } = await running(recordId);
      await world.remove(recordId);
      expect(await store.abandon(fence.turnId, failure)).toMatchObject({ run: { epoch: fence.epoch + 1 } });
      await expect(store.write(fence, { content: 'late' })).rejects.toThrow(LeaseLostError);
      await expect(store.finish(fence, ended('completed'))).rejects.toThrow(LeaseLostError);
    });
  });

  it('record answers title and document, or null', async () => {
    const recordId = await world.record();
    expect(await store.record(recordId)).toMatchObject({ id: recordId, title: expect.any(String) });
    expect(await store.record(world.unknownId())).toBeNull();
  });
}
