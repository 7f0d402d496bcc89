import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import mongoose, { type Connection } from 'mongoose';
import { FileTooLargeError, NotFoundError } from '../errors.ts';
import type { FileRef, FileStore, NewFile } from '../turn/ports.ts';
import { duplicateKeys, mongoCall } from './mongo-errors.ts';

type GridFSBucket = InstanceType<typeof mongoose.mongo.GridFSBucket>;
const { ObjectId } = mongoose.Types;

export interface GridFsOptions {
  readonly bucketName?: string;
  /** Default 10 MiB. */
  readonly maxFileBytes?: number;
}

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

  constructor(
    connection: Connection,
    { bucketName = 'artifacts', maxFileBytes = 10 * 1024 * 1024 }: GridFsOptions = {},
  ) {
    this.#connection = connection;
    this.#bucketName = bucketName;
    this.#maxFileBytes = maxFileBytes;
  }

  /** Idempotent; part of the explicit index step. */
  async ensureIndexes(): Promise<void> {
    await mongoCall(async () => {
      await this.#files.createIndex(
        { 'metadata.messageId': 1, filename: 1 },
        {
          unique: true,
          name: 'message_filename',
          partialFilterExpression: { 'metadata.messageId': { $type: 'string' } },
        },
      );
      await this.#chunks.createIndex({ files_id: 1, n: 1 }, { unique: true });
      await this.#files.createIndex({ filename: 1, uploadDate: 1 });
    });
  }

  attach(
    messageId: string,
    file: NewFile,
    signal?: AbortSignal,
  ): Promise<{ attached: boolean; file: FileRef }> {
    return mongoCall(async () => {
      const known = await this.#find(messageId, file.filename);
      if (known) return { attached: false, file: refOf(known) };
      try {
        return { attached: true, file: await this.#upload(messageId, file, signal) };
      } catch (error) {
        const winner = duplicateKeys(error) && (await this.#find(messageId, file.filename));
        if (winner) return { attached: false, file: refOf(winner) };
        throw error;
      }
    });
  }

  list(messageId: string): Promise<readonly FileRef[]> {
    return mongoCall(async () => {
      const files = await this.#files
        .find({ 'metadata.messageId': messageId })
        .sort({ filename: 1 })
        .toArray();
      return files.map((file) => refOf(file as unknown as FileDoc));
    });
  }

  remove(messageId: string, filename: string): Promise<boolean> {
    return mongoCall(async () => {
      const file = await this.#find(messageId, filename);
      if (!file) return false;
      const { deletedCount } = await this.#files.deleteOne({ _id: file._id });
      await this.#chunks.deleteMany({ files_id: file._id });
      return deletedCount === 1;
    });
  }

  async *read(fileId: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    if (!/^[0-9a-f]{24}$/.test(fileId)) throw new NotFoundError('file', fileId);
    const _id = new ObjectId(fileId);
    if (!(await mongoCall(() => this.#files.findOne({ _id })))) throw new NotFoundError('file', fileId);
    const stream = this.#bucket.openDownloadStream(_id);
    const stop = () => stream.destroy();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      for await (const bytes of stream) yield bytes as Uint8Array;
      signal?.throwIfAborted();
    } finally {
      signal?.removeEventListener('abort', stop);
      stream.destroy();
    }
  }

  async #upload(messageId: string, file: NewFile, signal: AbortSignal | undefined): Promise<FileRef> {
    const { filename, contentType, content, metadata = {} } = file;
    const id = new ObjectId();
    const hash = createHash('sha256');
    let bytes = 0;
    const maxFileBytes = this.#maxFileBytes;
    const source = Buffer.isBuffer(content) ? [content] : content;
    async function* counted() {
      for await (const chunk of source) {
        bytes += chunk.byteLength;
        if (bytes > maxFileBytes) throw new FileTooLargeError(filename, maxFileBytes);
        hash.update(chunk);
        yield chunk;
      }
      upload.options.metadata = { ...fields, sha256: hash.copy().digest('hex') };
    }
    const fields = { messageId, contentType, extra: JSON.stringify(metadata) };
    const upload = this.#bucket.openUploadStreamWithId(id, filename, { metadata: fields });
    try {
      await pipeline(Readable.from(counted()), upload, signal ? { signal } : {});
    } catch (error) {
      // The chunks of a failed upload belong to no file: nothing may stay of it.
      await this.#chunks.deleteMany({ files_id: id }).catch(() => undefined);
      signal?.throwIfAborted();
      throw error;
    }
    return { fileId: String(id), filename, contentType, bytes, sha256: hash.digest('hex'), metadata };
  }

  async #find(messageId: string, filename: string): Promise<FileDoc | null> {
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

  get #bucket(): GridFSBucket {
    return new mongoose.mongo.GridFSBucket(this.#db, { bucketName: this.#bucketName });
  }

  get #files() {
    return this.#db.collection(`${this.#bucketName}.files`);
  }

  get #chunks() {
    return this.#db.collection(`${this.#bucketName}.chunks`);
  }
}

function refOf({ _id, filename, length, metadata }: FileDoc): FileRef {
  return {
    fileId: String(_id),
    filename,
    contentType: metadata?.contentType ?? 'application/octet-stream',
    bytes: length,
    sha256: metadata?.sha256 ?? '',
    metadata: JSON.parse(metadata?.extra ?? '{}') as Record<string, unknown>,
  };
}
