import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { FileRef } from '../../src/artifacts/attachment.ts';
import { MessageArtifacts } from '../../src/artifacts/message-artifacts.ts';
import { Sandbox } from '../../src/artifacts/sandbox.ts';
import { ConnectionError, OwnershipLostError, ServiceUnavailableError } from '../../src/errors.ts';
import { AttachDesk, cutoff } from '../support/attach-desk.ts';
import { edited, exchangeOf, patched, wrote } from '../support/tool-calls.ts';

let prepared: Awaited<ReturnType<typeof AttachDesk.prepare>>;
let desk: AttachDesk;

beforeAll(async () => {
  prepared = await AttachDesk.prepare();
});
afterAll(() => prepared.stop());
beforeEach(async () => {
  desk = await prepared.open();
});
afterEach(() => desk.close());

describe('files of tool calls', () => {
  it('are attached with their final bytes, whatever changed them last', async () => {
    await desk.lay('a.txt', 'formatted');
    await desk.lay('b.txt', 'edited twice');
    await mkdir(path.join(desk.box, 'sub'));
    await desk.lay('sub/c.bin', Buffer.from([0, 255, 1, 254]));
    const calls = [
      wrote(path.join(desk.box, 'a.txt'), 'as written'),
      edited('b.txt'),
      edited(path.join(desk.box, './b.txt')),
      patched({ filePath: path.join(desk.box, 'sub/c.bin'), type: 'update' }),
    ];
    const { attached, dropped } = await desk.attach(calls);
    expect(dropped).toEqual([]);
    expect(attached.map(({ filename, metadata }) => [filename, metadata])).toEqual([
      ['a.txt', { source: 'tool', path: 'a.txt' }],
      ['b.txt', { source: 'tool', path: 'b.txt' }],
      ['c.bin', { source: 'tool', path: 'sub/c.bin' }],
    ]);
    expect(await desk.held()).toMatchObject({ 'a.txt': 'formatted', 'b.txt': 'edited twice' });
    expect(attached[2]).toMatchObject({ bytes: 4, contentType: 'application/octet-stream' });
  });

  it('that the sandbox here does not have come from the call, or from upstream', async () => {
    const asked: string[] = [];
    const readUpstream = async (name: string) => {
      asked.push(name);
      return name === 'gone.txt' ? null : Buffer.from(`upstream ${name}`);
    };
    const calls = [wrote('w.txt', 'of the call'), edited('dir/e.txt'), edited('gone.txt')];
    const { dropped } = await desk.attach(
      calls,
      {},
      { sandbox: new Sandbox(`${desk.box}-elsewhere`), readUpstream },
    );
    expect(await desk.held()).toEqual({ 'w.txt': 'of the call', 'e.txt': 'upstream dir/e.txt' });
    expect(asked).toEqual(['dir/e.txt', 'gone.txt']);
    expect(dropped).toEqual([{ reason: 'not_found', count: 1, paths: ['gone.txt'] }]);
  });

  it('that were renamed or deleted are what they are at the end', async () => {
    await desk.lay('new.txt', 'moved');
    const calls = [
      wrote('old.txt', 'first'),
      patched({ filePath: 'old.txt', movePath: 'new.txt', type: 'move' }),
      wrote('lost.txt', 'x'),
      patched({ filePath: 'lost.txt', type: 'delete' }),
    ];
    const { dropped } = await desk.attach(calls);
    expect(await desk.held()).toEqual({ 'new.txt': 'moved' });
    expect(dropped).toEqual([]);
  });

  it('outside the sandbox, unsafe or too large are told and cost nobody else', async () => {
    await symlink('/etc/passwd', path.join(desk.box, 'link.txt'));
    await desk.lay('big.txt', Buffer.alloc(2 * 1024 * 1024));
    const calls = [
      edited('/etc/passwd'),
      wrote('../escape.txt', 'x'),
      wrote('link.txt', 'harmless'),
      edited('big.txt'),
      wrote('two\nlines.txt', 'x'),
      wrote('fine.txt', 'fine'),
    ];
    const asked: string[] = [];
    const { dropped } = await desk.attach(
      calls,
      { defaultAttach: 'none' },
      {
        readUpstream: async (name) => {
          asked.push(name);
          return Buffer.from('leaked');
        },
      },
    );
    expect(await desk.held()).toEqual({ 'fine.txt': 'fine' });
    expect(asked).toEqual([]);
    expect(dropped).toEqual([
      { reason: 'outside_sandbox', count: 2, paths: ['…/passwd', '…/escape.txt'] },
      { reason: 'unsafe_file', count: 2, paths: ['two\nlines.txt', 'link.txt'] },
      { reason: 'file_too_large', count: 1, paths: ['big.txt'] },
    ]);
  });

  it('with the same last part are all attached, under names that tell them apart', async () => {
    const paths = ['index.ts', 'a/index.ts', 'b/index.ts', 'a__index.ts'];
    await desk.attach(paths.map((name) => wrote(name, `of ${name}`)));
    expect(await desk.held()).toEqual({
      'index.ts': 'of index.ts',
      'a__index.ts': 'of a__index.ts',
      '2__a__index.ts': 'of a/index.ts',
      'b__index.ts': 'of b/index.ts',
    });
  });

  it('count once: the sandbox adds only what no call named', async () => {
    await desk.lay('named.txt', 'named');
    await desk.lay('other.txt', 'by the shell');
    const { attached } = await desk.attach([edited('named.txt')]);
    expect(attached.map(({ filename, metadata }) => [filename, metadata.source])).toEqual([
      ['named.txt', 'tool'],
      ['other.txt', 'sandbox'],
    ]);
  });

  it('whose bytes upstream cannot give now are dropped, and reported', async () => {
    const away = new ConnectionError('refused', { method: 'GET', path: '/file/content' });
    const input = { sandbox: new Sandbox(`${desk.box}-elsewhere`), readUpstream: () => Promise.reject(away) };
    const { dropped } = await desk.attach([edited('a.txt'), wrote('b.txt', 'b')], {}, input);
    expect(dropped).toEqual([{ reason: 'unreadable', count: 1, paths: ['a.txt'] }]);
    expect(desk.reports).toEqual([{ error: away, action: 'artifacts.file' }]);
    expect(await desk.held()).toEqual({ 'b.txt': 'b' });
  });
});

describe('the sandbox', () => {
  it('gives what is fresh, without what the user sent along, or nothing with defaultAttach none', async () => {
    await desk.lay('old.txt', 'old');
    await utimes(path.join(desk.box, 'old.txt'), cutoff / 1000 - 10, cutoff / 1000 - 10);
    await desk.lay('upload.csv', 'mine');
    await desk.lay('made.csv', 'theirs');
    const uploadEcho = new Set(['upload.csv']);
    await desk.attach([], { defaultAttach: 'none' }, { uploadEcho });
    expect(await desk.held()).toEqual({});
    await desk.attach([], {}, { uploadEcho });
    expect(await desk.held()).toEqual({ 'made.csv': 'theirs' });
  });

  it('gives twenty at most, and tells how many were left', async () => {
    for (let at = 0; at < 27; at += 1) await desk.lay(`f${at}.txt`, String(at));
    const { attached, dropped } = await desk.attach([]);
    expect(attached).toHaveLength(20);
    expect(dropped).toMatchObject([{ reason: 'too_many', count: 7 }]);
    expect(dropped[0]?.paths).toHaveLength(5);
  });

  it('that is no folder any more costs its own files only', async () => {
    const elsewhere = await mkdtemp(path.join(tmpdir(), 'opencode-turns-secret-'));
    await writeFile(path.join(elsewhere, 'secret.txt'), 'secret');
    await rm(desk.box, { recursive: true });
    await symlink(elsewhere, desk.box);
    const { attached, dropped } = await desk.attach([wrote('secret.txt', 'x')]);
    expect(attached).toEqual([]);
    expect(dropped).toMatchObject([{ reason: 'unsafe_file', count: 2 }]);
    await rm(elsewhere, { recursive: true });
  });
});

describe('attaching again', () => {
  it('changes nothing, also with two workers at once', async () => {
    const calls = [wrote('a.txt', 'a'), wrote('b.txt', 'b')];
    const told: FileRef[] = [];
    const options = { onAttached: (file: FileRef) => told.push(file) };
    await Promise.all([desk.attach(calls, options), desk.attach(calls, options)]);
    const files = await desk.store.list(desk.messageId);
    expect(files.map(({ filename }) => filename)).toEqual(['a.txt', 'b.txt']);
    expect(new Set(told.map(({ fileId }) => fileId))).toEqual(new Set(files.map(({ fileId }) => fileId)));
  });

  it.each([
    ['the database is away', new ServiceUnavailableError('mongodb', 'away')],
    ['the turn belongs to another worker', new OwnershipLostError('t', 1)],
  ])('is left to a later owner when %s', async (_when, error) => {
    const failing = { ...desk.message, attach: () => Promise.reject(error) };
    await expect(desk.attach([wrote('a.txt', 'a')], { message: failing })).rejects.toBe(error);
  });

  it('stops at its time limit with what there is, and at an abort with its reason', async () => {
    const hang = {
      sandbox: new Sandbox(`${desk.box}-elsewhere`),
      readUpstream: (_: string, signal?: AbortSignal) => aborted(signal),
    };
    const { dropped } = await desk.attach(
      [wrote('a.txt', 'a'), edited('b.txt'), wrote('c.txt', 'c')],
      { timeLimitMs: 100 },
      hang,
    );
    expect(dropped).toEqual([{ reason: 'out_of_time', count: 2, paths: ['b.txt', 'c.txt'] }]);
    expect(await desk.held()).toEqual({ 'a.txt': 'a' });
    const reason = new Error('let go');
    const artifacts = new MessageArtifacts({ message: desk.message, reporter: { report: () => undefined } });
    const exchange = exchangeOf(edited('b.txt'));
    await expect(artifacts.attachFrom({ exchange, cutoff, ...hang }, AbortSignal.abort(reason))).rejects.toBe(
      reason,
    );
  });
});

const aborted = (signal: AbortSignal | undefined) =>
  new Promise<never>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
