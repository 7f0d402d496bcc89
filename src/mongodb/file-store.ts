import mongoose, { type Connection } from 'mongoose';
import type { FileRef, NewFile } from '../artifacts/attachment.ts';
import { metadataJson } from '../artifacts/file-metadata.ts';
import { checkSignal } from '../checking/check-signal.ts';
import { requireWellFormed } from '../checking/well-formed.ts';
import { InvalidInputError, NotFoundError } from '../errors.ts';
import type { FileStore } from '../ports/file-store.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { checkIndexes } from './check-indexes.ts';
import { collectionNames } from './collection-names.ts';
import { mongoCall } from './errors.ts';
import { uploadFile } from './file-upload.ts';
import { building, type WantedIndex } from './index-conflict.ts';
import { Patience } from './settled.ts';
import { wholeFile } from './stored-bytes.ts';
import { readObject } from './stored-json.ts';
import { verdictOn } from './verdicts.ts';

type GridFSBucket = InstanceType<typeof mongoose.mongo.GridFSBucket>;
const { ObjectId } = mongoose.Types;

export interface GridFsOptions {
  /** Default as the models' collections. */
  readonly bucketName?: string;
  /** Default 10 MiB. */
  readonly maxFileBytes?: number;
}

/** Chunks that a reader has in memory at most. */
const readAhead = 8;

/** One file of a name per message. */
const messageFilename = {
  key: { 'metadata.messageId': 1, filename: 1 },
  unique: true,
  name: 'message_filename',
  partialFilterExpression: { 'metadata.messageId': { $type: 'string' } },
} as const;

interface FileDoc {
  readonly _id: mongoose.Types.ObjectId;
  readonly filename: string;
  readonly length: number;
  readonly metadata?: {
    readonly messageId: string;
    readonly contentType: string;
    readonly sha256?: string;
    readonly extra?: string;
  };
}

/**
 * Files of messages in GridFS. A file counts once its files document is there, which GridFS writes last; a
 * unique index over message and name lets exactly one of two uploads through, and the loser's chunks are
 * removed. The hash is computed while the bytes pass.
 */
export class GridFsFileStore implements FileStore {
  readonly #connection: Connection;
  readonly #bucketName: string;
  readonly #maxFileBytes: number;
  #opened: GridFSBucket | undefined;

  constructor(
    connection: Connection,
    { bucketName = collectionNames().files, maxFileBytes = 10 * 1024 * 1024 }: GridFsOptions = {},
  ) {
    this.#connection = connection;
    this.#bucketName = bucketName;
    this.#maxFileBytes = maxFileBytes;
  }

  /** Idempotent; part of the explicit index step. Throws as `ensureIndexes`. */
  async ensureIndexes(): Promise<void> {
    const files: WantedIndex[] = [messageFilename, { key: { filename: 1, uploadDate: 1 } }];
    await this.#build(() => this.#files, files);
    await this.#build(() => this.#chunks, [{ key: { files_id: 1, n: 1 }, unique: true }]);
  }

  /** Throws InvalidConfigError when one that correctness rests on is missing. */
  checkIndexes(): Promise<void> {
    return checkIndexes(this.#files, [messageFilename]);
  }

  attach(
    messageId: string,
    file: NewFile,
    signal?: AbortSignal,
  ): Promise<{ attached: boolean; file: FileRef }> {
    return mongoCall(async () => {
      checkSignal(signal);
      // Before anything is read or written.
      const extra = metadataJson(file.metadata ?? {});
      const known = await this.#find(messageId, file.filename);
      if (known) return { attached: false, file: refOf(known) };
      try {
        return { attached: true, file: await this.#upload(messageId, file, extra, signal) };
      } catch (error) {
        // What refused ours may be the index, in whatever words. Nothing else of this upload is left by now.
        const winner = verdictOn(error) && (await this.#find(messageId, file.filename));
        if (winner) return { attached: false, file: refOf(winner) };
        throw error;
      }
    });
  }

  list(messageId: string): Promise<readonly FileRef[]> {
    return mongoCall(async () => {
      requireText('messageId', messageId);
      const files = await this.#files
        .find({ 'metadata.messageId': messageId })
        .sort({ filename: 1 })
        .toArray();
      return files.map((file) => refOf(file as unknown as FileDoc));
    });
  }

  stored({ from, to, limit }: Parameters<FileStore['stored']>[0]): ReturnType<FileStore['stored']> {
    return mongoCall(async () => {
      // Ids begin with the second of their making, so this needs no index of its own.
      const at = (ms: number) => ObjectId.createFromTime(Math.floor(ms / 1_000));
      const files = await this.#files
        .find({ _id: { $gte: at(from), $lt: at(to) } })
        .sort({ _id: 1 })
        .limit(Math.max(1, limit))
        .toArray();
      return files.map((file) => ({
        fileId: String(file._id),
        messageId: (file as unknown as FileDoc).metadata?.messageId ?? '',
      }));
    });
  }

  remove(fileId: string): Promise<boolean> {
    return mongoCall(async () => {
      const _id = idOf(fileId);
      if (!_id) return false;
      const { deletedCount } = await this.#files.deleteOne({ _id });
      // Also when the entry was gone: whoever removed it may have died before the bytes.
      await this.#chunks.deleteMany({ files_id: _id });
      return deletedCount === 1;
    });
  }

  /** Past the driver's own stream, which ends as if nothing was amiss when the last chunks are gone (7.8). */
  async *read(fileId: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    checkSignal(signal);
    signal?.throwIfAborted();
    const _id = idOf(fileId);
    const entry = _id && (await mongoCall(() => this.#files.findOne({ _id })));
    if (!_id || !entry) throw new NotFoundError('file', String(fileId));
    const cursor = this.#chunks.find({ files_id: _id }, { batchSize: readAhead }).sort({ n: 1 });
    const next = () =>
      unlessAborted(
        mongoCall(() => cursor.next()),
        signal,
      );
    try {
      yield* wholeFile(fileId, (entry as unknown as FileDoc).length, next);
    } finally {
      // Not waited for: the database may be what does not answer.
      void cursor.close().catch(() => undefined);
    }
  }

  async #build(collectionOf: () => mongoose.mongo.Collection, wanted: readonly WantedIndex[]): Promise<void> {
    const collection = await mongoCall(async () => collectionOf());
    await building(collection, wanted, () => collection.createIndexes(wanted as never));
  }

  async #upload(
    messageId: string,
    file: NewFile,
    extra: string,
    signal: AbortSignal | undefined,
  ): Promise<FileRef> {
    const { filename, contentType, metadata = {} } = file;
    const id = new ObjectId();
    const target = {
      id,
      bucket: this.#bucket(),
      maxFileBytes: this.#maxFileBytes,
      fields: { messageId, contentType, extra },
    };
    try {
      const written = await uploadFile(target, file, signal);
      return { fileId: String(id), filename, contentType, ...written, metadata };
    } catch (error) {
      const patience = new Patience();
      // The entry is written last: when it is there, so is all of it, and only the answer was lost.
      const entry = verdictOn(error) && (await patience.read(() => this.#files.findOne({ _id: id })));
      if (entry) return refOf(entry as unknown as FileDoc);
      await this.#forget(id, patience).catch(() => undefined);
      throw error;
    }
  }

  /**
   * Nothing may stay of a failed upload. The entry goes first: if its writing had succeeded unheard, there is at
   * no time an entry without its bytes.
   */
  async #forget(id: mongoose.Types.ObjectId, patience: Patience): Promise<void> {
    await patience.read(() => this.#files.deleteOne({ _id: id }));
    await patience.read(() => this.#chunks.deleteMany({ files_id: id }));
  }

  async #find(messageId: string, filename: string): Promise<FileDoc | null> {
    requireText('messageId', messageId);
    requireText('filename', filename);
    return (await this.#files.findOne({
      'metadata.messageId': messageId,
      filename,
    })) as unknown as FileDoc | null;
  }

  get #db() {
    const { db } = this.#connection;
    if (!db) throw new mongoose.mongo.MongoNotConnectedError('the connection is closed');
    return db;
  }

  /** One for all uploads: the driver looks for its indexes at the first upload of each bucket object. */
  #bucket(): GridFSBucket {
    this.#opened ??= new mongoose.mongo.GridFSBucket(this.#db, { bucketName: this.#bucketName });
    return this.#opened;
  }

  get #files() {
    return this.#db.collection(`${this.#bucketName}.files`);
  }

  get #chunks() {
    return this.#db.collection(`${this.#bucketName}.chunks`);
  }
}

/** These queries go past Mongoose's casting: an object with operators must not get into them. */
function requireText(field: string, value: unknown): void {
  if (typeof value !== 'string' || value === '')
    throw new InvalidInputError(field, 'must be a string, not empty');
  requireWellFormed(field, value);
}

function idOf(fileId: unknown): mongoose.Types.ObjectId | undefined {
  return typeof fileId === 'string' && /^[0-9a-f]{24}$/.test(fileId) ? new ObjectId(fileId) : undefined;
}

/** Any field may hold anything: one damaged entry must not hide a message's other files. */
function refOf({ _id, filename, length, metadata }: FileDoc): FileRef {
  const { contentType = 'application/octet-stream', sha256 = '', extra = '{}' } = metadata ?? {};
  const read = readObject(extra);
  const damaged = Object.entries({
    filename: isText(filename),
    length: isSize(length),
    contentType: isText(contentType),
    sha256: isText(sha256),
    metadata: read !== undefined,
  }).find(([, isWhole]) => !isWhole);
  return {
    fileId: String(_id),
    filename: isText(filename) ? filename : '',
    contentType: isText(contentType) ? contentType : 'application/octet-stream',
    bytes: isSize(length) ? length : 0,
    sha256: isText(sha256) ? sha256 : '',
    metadata: read ?? {},
    ...(damaged ? { damaged: damaged[0] } : {}),
  };
}

const isText = (value: unknown) => typeof value === 'string';
const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
