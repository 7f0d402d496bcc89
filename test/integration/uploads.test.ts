import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type mongoose from 'mongoose';
import {
  FileTooLargeError,
  InvalidInputError,
  NotFoundError,
  TurnBusyError,
  type Turns,
} from '../../src/index.ts';
import { collectionNames } from '../../src/mongodb/collection-names.ts';
import { GridFsFileStore } from '../../src/mongodb/file-store.ts';
import type { MessageDoc } from '../../src/mongodb/models.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import { discardOrphanFiles } from '../../src/sweeper/orphan-files.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';
import { startWorkerProcess } from '../support/worker-process.ts';

let system: TestSystem;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
}, 90_000);
afterAll(() => system.stop());

const upload = (filename: string, content: string, contentType = 'text/csv') => ({
  filename,
  contentType,
  content: Buffer.from(content),
});

async function storedFiles(): Promise<number> {
  return (await turns.connection.db?.collection(`${collectionNames().files}.files`).countDocuments({})) ?? -1;
}

describe('files that a user sends along', () => {
  it('outlive the worker that copied them, and are told to the agent once and no work of its own', async () => {
    const gate = deferred();
    system.respond(({ step }) =>
      step === 0
        ? {
            text: ['Reading.'],
            tools: [{ name: 'bash', input: { command: 'wc -c * > made.txt', description: 'x' } }],
            gate: gate.promise,
          }
        : { text: ['Done.'] },
    );
    const conversation = await newConversation(turns);
    const files = [
      upload('sales.csv', 'a,b\n'),
      upload('sales.csv', 'c,d\n'),
      upload('Übersicht.md', '', 'text/markdown'),
    ];
    const turn = await turns.enqueue({ conversation, text: 'Add them up', files, idempotencyKey: 'k' });
    expect(turn.uploads.map(({ filename }) => filename)).toEqual([
      'sales.csv',
      'sales-2.csv',
      'Übersicht.md',
    ]);
    const again = await turns.enqueue({ conversation, text: 'Add them up', files, idempotencyKey: 'k' });
    expect(again.uploads).toEqual(turn.uploads);
    expect(await storedFiles()).toBe(3);

    const victim = await startWorkerProcess(system);
    await eventually(() => expect(system.model.turnRequests).toHaveLength(1));
    victim.kill('SIGKILL');
    gate.resolve();
    await turns.work({
      policies: { default: { model: 'scripted/scripted' } },
      lockMs: 2_000,
      stalledCheckMs: 500,
    });
    await followAll(turns, turn.id);

    const stored = await turns.get(turn.id);
    const box = path.join(system.sandboxRoot, conversation);
    expect(readdirSync(box).sort()).toEqual(['made.txt', 'sales-2.csv', 'sales.csv', 'Übersicht.md']);
    expect(readFileSync(path.join(box, 'sales-2.csv'), 'utf8')).toBe('c,d\n');
    expect(stored).toMatchObject({ status: 'completed', run: { epoch: 2 }, uploads: turn.uploads });
    expect(stored?.artifacts.map(({ filename }) => filename)).toEqual(['made.txt']);
    expect(system.model.turnRequests).toHaveLength(2);
    const told = system.model.turnRequests[0]?.userText ?? '';
    expect(told).toContain('Add them up\n\nFiles from the user, in the working directory:\n');
    expect(told.match(/^- /gm)).toHaveLength(3);
    expect(told).toContain('- "Übersicht.md" is Übersicht.md (text/markdown, 0 bytes)');
  });

  it.each([
    ['no list', { a: 1 }, /files: must be a list/],
    ['too many', Array.from({ length: 101 }, () => upload('a', 'x')), /at most 100/],
    ['a name that leads out', [upload('../a.csv', 'x')], /files\.0\.filename: .*outside the sandbox/],
    ['an operator for a name', [{ ...upload('a', 'x'), filename: { $ne: null } }], /files\.0\.filename/],
    ['no bytes', [{ ...upload('a', 'x'), content: 'text' }], /files\.0\.content: must be a Buffer/],
  ])('are refused before anything is written: %s', async (_what, files, message) => {
    const before = await storedFiles();
    const conversation = await newConversation(turns);
    const enqueue = turns.enqueue({ conversation, text: 'x', files: files as never });
    await expect(enqueue).rejects.toThrow(InvalidInputError);
    await expect(enqueue).rejects.toThrow(message);
    expect(await storedFiles()).toBe(before);
  });

  it('leave nothing behind when the turn is refused', async () => {
    const before = await storedFiles();
    const files = [upload('a.csv', 'x'), { ...upload('b.csv', ''), content: Buffer.alloc(11 * 1024 * 1024) }];
    const conversation = await newConversation(turns);
    await expect(turns.enqueue({ conversation, text: 'x', files })).rejects.toThrow(FileTooLargeError);
    const unknown = '0123456789abcdef01234567';
    await expect(turns.enqueue({ conversation: unknown, text: 'x', files })).rejects.toThrow(NotFoundError);
    const gate = deferred();
    system.respond(() => ({ text: ['slow'], gate: gate.promise }));
    const { id } = await turns.enqueue({ conversation, text: 'busy' });
    const refused = { conversation, text: 'x', files: files.slice(0, 1), onBusy: 'reject' as const };
    await expect(turns.enqueue(refused)).rejects.toThrow(TurnBusyError);
    gate.resolve();
    await followAll(turns, id);
    expect(await storedFiles()).toBe(before);
    expect(await turns.models.Message.countDocuments({ text: 'x' })).toBe(0);
  });

  it('whose enqueuer died before the turn was stored are swept away, and no others', async () => {
    const files = new GridFsFileStore(turns.connection);
    const store = new MongoTurnStore(
      turns.models.Message as unknown as mongoose.Model<MessageDoc>,
      turns.models.Conversation as unknown as mongoose.Model<never>,
    );
    const before = await storedFiles();
    await files.attach(store.newMessageId(), upload('stray.csv', 'x'));
    const clock = { now: () => Date.now(), monotonicMs: () => 0, setTimer: () => () => undefined };
    const later = { ...clock, now: () => Date.now() + 2 * 3_600_000 };
    const sweep = (at: typeof clock) =>
      discardOrphanFiles({ files, store, clock: at, reporter: { report: () => undefined } });
    expect(await sweep(clock)).toBe(0);
    expect(await storedFiles()).toBe(before + 1);
    expect(await sweep(later)).toBe(1);
    expect(await storedFiles()).toBe(before);
  });
});
