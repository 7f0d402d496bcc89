import { unlessAborted } from '../timing/unless-aborted.ts';

/** The bytes of a new file: all of them, or as they come. */
export type FileContent = Uint8Array | AsyncIterable<Uint8Array>;

/** The content in pieces of at most `maxPieceBytes`. A source that went silent does not outlive the signal. */
export async function* piecesOf(
  content: FileContent,
  maxPieceBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const source = content instanceof Uint8Array ? oneOf(content) : content[Symbol.asyncIterator]();
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await unlessAborted(source.next(), signal);
      if (done) return;
      for (let from = 0; from < value.byteLength; from += maxPieceBytes) {
        signal?.throwIfAborted();
        yield value.subarray(from, from + maxPieceBytes);
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
