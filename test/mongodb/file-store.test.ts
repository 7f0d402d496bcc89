import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mongoose from 'mongoose';
import type { NewFile } from '../../src/artifacts/attachment.ts';
import {
  CorruptFileError,
  FileTooLargeError,
  InvalidInputError,
  NotFoundError,
  ServiceUnavailableError,
} from '../../src/errors.ts';
import { collectionNames } from '../../src/mongodb/collection-names.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { GridFsFileStore } from '../../src/mongodb/file-store.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';
import { deferred } from '../support/deferred.ts';

const kib = 1024;
const maxFileBytes = 1024 * kib;

let database: TestDatabase;
let store: GridFsFileStore;

beforeAll(async () => {
  database = await startDatabase();
  store = new GridFsFileStore(database.connection, { maxFileBytes });
  await store.ensureIndexes();
  await store.ensureIndexes();
});
afterAll(() => database.stop());

const newMessage = () => String(new mongoose.Types.ObjectId());
const textFile = (content: NewFile['content'], filename = 'a.txt'): NewFile => ({
  filename,
  contentType: 'text/plain',
  content,
});
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

async function bytesOf(fileId: string, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of store.read(fileId, signal)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Documents of both collections that belong to no message's list. */
async function leftovers(): Promise<{ chunks: number; files: number }> {
  const { db } = database.connection;
  if (!db) throw new Error('not connected');
  const files = await db.collection(`${collectionNames().files}.files`).find({}).toArray();
  const known = new Set(files.map(({ _id }) => String(_id)));
  const chunks = await db
    .collection(`${collectionNames().files}.chunks`)
    .find({}, { projection: { files_id: 1 } })
    .toArray();
  return {
    chunks: chunks.filter(({ files_id }) => !known.has(String(files_id))).length,
    files: files.filter(({ metadata }) => !metadata?.sha256).length,
  };
}
const nothing = { chunks: 0, files: 0 };

describe('attach', () => {
  it.each([0, 1, 255 * kib - 1, 255 * kib, 255 * kib + 1, 600 * kib, maxFileBytes])(
    'keeps %i bytes as they are, whole or in pieces of any size',
    async (size) => {
      const content = randomBytes(size);
      const messageId = newMessage();
      async function* pieces() {
        for (let from = 0; from < size; from += 100_001) yield content.subarray(from, from + 100_001);
      }
      const whole = await store.attach(messageId, textFile(content, 'whole'));
      const inPieces = await store.attach(messageId, textFile(pieces(), 'pieces'));
      for (const { attached, file } of [whole, inPieces]) {
        expect(attached).toBe(true);
        expect(file).toMatchObject({ bytes: size, sha256: sha256(content), contentType: 'text/plain' });
        expect((await bytesOf(file.fileId)).equals(content)).toBe(true);
      }
      expect(await store.list(messageId)).toEqual([inPieces.file, whole.file]);
    },
  );

  it('keeps metadata with any keys, and names that look like operators', async () => {
    const messageId = newMessage();
    const metadata = { $set: { 'a.b': 1 }, trusted: true };
    const { file } = await store.attach(messageId, {
      ...textFile(Buffer.from('x'), '$where.{"$ne":1}'),
      metadata,
    });
    expect(await store.list(messageId)).toEqual([{ ...file, metadata }]);
  });

  it('is idempotent by name: the first content stays', async () => {
    const messageId = newMessage();
    const first = await store.attach(messageId, textFile(Buffer.from('first')));
    const again = await store.attach(messageId, textFile(Buffer.from('again')));
    expect(again).toEqual({ attached: false, file: first.file });
    expect((await store.attach(newMessage(), textFile(Buffer.from('other')))).attached).toBe(true);
    expect(await leftovers()).toEqual(nothing);
  });

  it("lets one of two workers through whose uploads are under way at once, and removes the other one's bytes", async () => {
    const messageId = newMessage();
    const gates = [deferred<void>(), deferred<void>()];
    const begun = [deferred<void>(), deferred<void>()];
    const uploads = [0, 1].map((n) => {
      async function* content() {
        yield Buffer.alloc(300 * kib, n);
        begun[n]?.resolve();
        await gates[n]?.promise;
        yield Buffer.from('end');
      }
      return store.attach(messageId, textFile(content()));
    });
    await Promise.all(begun.map(({ promise }) => promise));
    for (const gate of gates) gate.resolve();
    const [one, two] = await Promise.all(uploads);
    expect([one?.attached, two?.attached].sort()).toEqual([false, true]);
    expect(one?.file).toEqual(two?.file);
    const files = await store.list(messageId);
    expect(files).toHaveLength(1);
    expect(sha256(await bytesOf(files[0]?.fileId ?? ''))).toBe(files[0]?.sha256);
    expect(await leftovers()).toEqual(nothing);
  });

  it('refuses one byte too many and leaves nothing behind', async () => {
    const messageId = newMessage();
    async function* endless() {
      for (;;) yield Buffer.alloc(100 * kib);
    }
    for (const content of [Buffer.alloc(maxFileBytes + 1), endless()])
      await expect(store.attach(messageId, textFile(content))).rejects.toEqual(
        new FileTooLargeError('a.txt', maxFileBytes),
      );
    expect(await store.list(messageId)).toEqual([]);
    expect(await leftovers()).toEqual(nothing);
  });

  it('whose content fails leaves nothing behind and can be tried again', async () => {
    const messageId = newMessage();
    const broken = new Error('disk gone');
    async function* content() {
      yield Buffer.alloc(600 * kib);
      throw broken;
    }
    await expect(store.attach(messageId, textFile(content()))).rejects.toBe(broken);
    expect(await leftovers()).toEqual(nothing);
    expect((await store.attach(messageId, textFile(Buffer.from('x')))).attached).toBe(true);
  });

  it('ends with the reason of an abort, also while the content is silent, and leaves nothing behind', async () => {
    const messageId = newMessage();
    const controller = new AbortController();
    const silent = deferred<void>();
    const reason = new Error('enough');
    let closed = false;
    async function* content() {
      try {
        yield Buffer.alloc(600 * kib);
        controller.abort(reason);
        await silent.promise;
      } finally {
        closed = true;
      }
    }
    await expect(store.attach(messageId, textFile(content()), controller.signal)).rejects.toBe(reason);
    expect(await leftovers()).toEqual(nothing);
    silent.resolve();
    await new Promise(setImmediate);
    expect(closed).toBe(true);
    await expect(store.attach(messageId, textFile(Buffer.from('x')), controller.signal)).rejects.toBe(reason);
    expect(await store.list(messageId)).toEqual([]);
  });

  it('refuses operators in place of ids and names', async () => {
    const bad = { $ne: null } as never;
    await expect(store.attach(bad, textFile(Buffer.from('x')))).rejects.toThrow(InvalidInputError);
    await expect(store.attach(newMessage(), textFile(Buffer.from('x'), bad))).rejects.toThrow(
      InvalidInputError,
    );
    await expect(store.list(bad)).rejects.toThrow(InvalidInputError);
    expect(await store.remove(bad)).toBe(false);
    await expect(bytesOf(bad)).rejects.toThrow(NotFoundError);
  });

  it('says which service is away', async () => {
    const connection = await connectMongo(database.url);
    const cut = new GridFsFileStore(connection);
    await connection.close();
    await expect(cut.attach(newMessage(), textFile(Buffer.from('x')))).rejects.toThrow(
      ServiceUnavailableError,
    );
    await expect(cut.list(newMessage())).rejects.toThrow(ServiceUnavailableError);
  });
});

describe('stored', () => {
  it('tells of files of all messages that were attached in that time, oldest first', async () => {
    const [one, two] = [newMessage(), newMessage()];
    const before = Date.now();
    const files = [];
    for (const messageId of [one, two])
      files.push((await store.attach(messageId, textFile(Buffer.from('x')))).file);
    const wanted = files.map(({ fileId }, at) => ({ fileId, messageId: [one, two][at] }));
    const all = await store.stored({ from: before - 1_000, to: Date.now() + 2_000, limit: 1_000 });
    expect(all.slice(-2)).toEqual(wanted);
    expect(await store.stored({ from: Date.now() + 2_000, to: Date.now() + 9_000, limit: 10 })).toEqual([]);
    expect(await store.stored({ from: 0, to: Date.now() + 2_000, limit: 1 })).toHaveLength(1);
  });
});

describe('remove', () => {
  it('takes the entry and its bytes, once', async () => {
    const messageId = newMessage();
    const { file } = await store.attach(messageId, textFile(Buffer.alloc(600 * kib)));
    expect(await store.remove(newMessage())).toBe(false);
    const results = await Promise.all([store.remove(file.fileId), store.remove(file.fileId)]);
    expect(results.sort()).toEqual([false, true]);
    expect(await store.list(messageId)).toEqual([]);
    expect(await leftovers()).toEqual(nothing);
    await expect(bytesOf(file.fileId)).rejects.toEqual(new NotFoundError('file', file.fileId));
  });

  it('leaves the file that has taken the name meanwhile', async () => {
    const messageId = newMessage();
    const { file: first } = await store.attach(messageId, textFile(Buffer.from('first')));
    await store.remove(first.fileId);
    const { file: second } = await store.attach(messageId, textFile(Buffer.from('second')));
    expect(await store.remove(first.fileId)).toBe(false);
    expect(await store.list(messageId)).toEqual([second]);
  });
});

describe('entries that somebody has damaged', () => {
  const filesOf = () =>
    database.connection.collection<{ _id: mongoose.Types.ObjectId }>(`${collectionNames().files}.files`);
  const damage = (fileId: string, fields: object) =>
    filesOf().updateOne({ _id: new mongoose.Types.ObjectId(fileId) }, { $set: fields });

  it.each<[string, object, object]>([
    ['metadata', { 'metadata.extra': '{' }, { metadata: {} }],
    ['metadata', { 'metadata.extra': '' }, { metadata: {} }],
    ['metadata', { 'metadata.extra': 'null' }, { metadata: {} }],
    ['metadata', { 'metadata.extra': '[1]' }, { metadata: {} }],
    ['metadata', { 'metadata.extra': { source: 'us' } }, { metadata: {} }],
    ['filename', { filename: 5 }, { filename: '' }],
    ['length', { length: 'many' }, { bytes: 0 }],
    ['length', { length: -1 }, { bytes: 0 }],
    ['sha256', { 'metadata.sha256': { $x: 1 } }, { sha256: '' }],
    ['contentType', { 'metadata.contentType': 7 }, { contentType: 'application/octet-stream' }],
  ])('are listed with the others, and say that they are (%s of %j)', async (field, fields, read) => {
    const messageId = newMessage();
    const { file: whole } = await store.attach(messageId, textFile(Buffer.from('x'), 'whole'));
    const { file } = await store.attach(messageId, { ...textFile(Buffer.from('y')), metadata: { a: 1 } });
    await damage(file.fileId, fields);
    const listed = await store.list(messageId);
    expect(listed.find(({ fileId }) => fileId === whole.fileId)).toEqual(whole);
    expect(listed.find(({ fileId }) => fileId === file.fileId)).toEqual({ ...file, ...read, damaged: field });
    if (field === 'filename') return;
    const again = await store.attach(messageId, textFile(Buffer.from('z')));
    expect(again).toMatchObject({ attached: false, file: { damaged: field } });
  });

  it.each<[string, (chunks: ReturnType<typeof filesOf>, files_id: unknown) => Promise<unknown>]>([
    ['are gone', (chunks, files_id) => chunks.deleteMany({ files_id })],
    [
      'are cut',
      (chunks, files_id) => chunks.updateOne({ files_id, n: 1 }, { $set: { data: Buffer.from('x') } }),
    ],
    ['lack one', (chunks, files_id) => chunks.deleteOne({ files_id, n: 0 })],
    ['lack the last', (chunks, files_id) => chunks.deleteOne({ files_id, n: 2 })],
    ['are none', (chunks, files_id) => chunks.updateOne({ files_id, n: 1 }, { $set: { data: 'text' } })],
  ])('end the reading of bytes that %s with CorruptFileError', async (_name, spoil) => {
    const { file } = await store.attach(newMessage(), textFile(Buffer.alloc(700 * kib)));
    const chunks = database.connection.collection<{ _id: mongoose.Types.ObjectId }>(
      `${collectionNames().files}.chunks`,
    );
    await spoil(chunks as never, new mongoose.Types.ObjectId(file.fileId));
    await expect(bytesOf(file.fileId)).rejects.toBeInstanceOf(CorruptFileError);
  });
});

describe('read', () => {
  it('ends with the reason of an abort', async () => {
    const { file } = await store.attach(newMessage(), textFile(Buffer.alloc(900 * kib)));
    const controller = new AbortController();
    const reason = new Error('enough');
    const reading = (async () => {
      for await (const _chunk of store.read(file.fileId, controller.signal)) controller.abort(reason);
    })();
    await expect(reading).rejects.toBe(reason);
    await expect(bytesOf(file.fileId, controller.signal)).rejects.toBe(reason);
  });

  it('may be left in the middle', async () => {
    const { file } = await store.attach(newMessage(), textFile(Buffer.alloc(900 * kib, 7)));
    for await (const chunk of store.read(file.fileId)) {
      expect(chunk[0]).toBe(7);
      break;
    }
    expect((await bytesOf(file.fileId)).byteLength).toBe(900 * kib);
  });
});
