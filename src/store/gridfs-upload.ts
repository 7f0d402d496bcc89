import { createHash } from 'node:crypto';
import type mongoose from 'mongoose';
import { FileTooLargeError } from '../errors.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import type { NewFile } from '../turn/ports.ts';

/** GridFS's own default. Each write below fills at most one of these. */
const chunkSizeBytes = 255 * 1024;

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
  for await (const piece of piecesOf(content, signal)) {
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

/** The content in pieces that fill at most one chunk each. A source that went silent does not outlive the signal. */
async function* piecesOf(content: NewFile['content'], signal: AbortSignal | undefined) {
  const source = content instanceof Uint8Array ? oneOf(content) : content[Symbol.asyncIterator]();
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await unlessAborted(source.next(), signal);
      if (done) return;
      for (let from = 0; from < value.byteLength; from += chunkSizeBytes) {
        signal?.throwIfAborted();
        yield value.subarray(from, from + chunkSizeBytes);
      }
    }
  } finally {
    // Not waited for: a source that hangs in `next` hangs here as well.
    void Promise.resolve(source.return?.()).catch(() => undefined);
  }
}

async function* oneOf(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}
