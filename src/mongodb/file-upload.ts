import { createHash } from 'node:crypto';
import type mongoose from 'mongoose';
import type { NewFile } from '../artifacts/attachment.ts';
import { maxSilentMs, piecesOf } from '../artifacts/content-pieces.ts';
import { FileTooLargeError } from '../errors.ts';

/** GridFS's own default. Each write below fills at most one of these. */
const chunkSizeBytes = 255 * 1024;
const pieces = { maxPieceBytes: chunkSizeBytes, silentMs: maxSilentMs };

export interface UploadTarget {
  readonly bucket: InstanceType<typeof mongoose.mongo.GridFSBucket>;
  readonly id: mongoose.Types.ObjectId;
  readonly maxFileBytes: number;
  /** What the files document says beside the hash. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * Writes one file: its chunks as they come, and its files document last, with the hash that was computed while
 * the bytes passed. One chunk is under way at a time, so that nothing is written any more once this has thrown.
 * Throws FileTooLargeError, the signal's reason, what the content throws, and the driver's errors.
 */
export async function uploadFile(
  { bucket, id, maxFileBytes, fields }: UploadTarget,
  { filename, content }: NewFile,
  signal: AbortSignal | undefined,
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const upload = bucket.openUploadStreamWithId(id, filename, { chunkSizeBytes });
  // Each error is told to the callback of its call as well; without a listener it would end the process.
  upload.on('error', () => undefined);
  for await (const piece of piecesOf(content, pieces, signal)) {
    bytes += piece.byteLength;
    if (bytes > maxFileBytes) throw new FileTooLargeError(filename, maxFileBytes);
    hash.update(piece);
    await called((done) => upload.write(piece, done));
  }
  const sha256 = hash.digest('hex');
  // The driver reads this when it writes the files document, which is the last thing that it writes.
  upload.options.metadata = { ...fields, sha256 };
  await called((done) => upload.end(done));
  return { bytes, sha256 };
}

function called(start: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())));
}
