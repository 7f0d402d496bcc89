import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mongoose from 'mongoose';
import { CorruptFileError, ServiceUnavailableError } from '../../src/errors.ts';
import { collectionNames } from '../../src/mongodb/collection-names.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { GridFsFileStore } from '../../src/mongodb/file-store.ts';
import { fileStoreContract, maxFileBytes, textFile } from '../contract/file-store.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';

const kib = 1024;

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

fileStoreContract(async () => ({ store, newMessage, leftovers }));

it('says which service is away', async () => {
  const connection = await connectMongo(database.url);
  const cut = new GridFsFileStore(connection);
  await connection.close();
  await expect(cut.attach(newMessage(), textFile(Buffer.from('x')))).rejects.toThrow(ServiceUnavailableError);
  await expect(cut.list(newMessage())).rejects.toThrow(ServiceUnavailableError);
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
