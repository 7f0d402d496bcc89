import { CorruptFileError } from '../errors.ts';

/**
 * The bytes of a file's chunks, which must be numbered from 0 on and hold `length` bytes together. Throws
 * CorruptFileError where they don't, and what `next` throws. `next` returns null behind the last one.
 */
export async function* wholeFile(
  fileId: string,
  length: number,
  next: () => Promise<object | null>,
): AsyncGenerator<Uint8Array> {
  let left = length;
  for (let number = 0; ; number += 1) {
    const chunk = (await next()) as { n?: unknown; data?: unknown } | null;
    if (!chunk) break;
    const bytes = bytesOf(chunk.data);
    if (chunk.n !== number || !bytes)
      throw new CorruptFileError(fileId, `chunk ${number} is missing or none`);
    left -= bytes.byteLength;
    if (!(left >= 0)) throw new CorruptFileError(fileId, `it has more than its ${length} bytes`);
    yield bytes;
  }
  if (left !== 0) throw new CorruptFileError(fileId, `${left} of its ${length} bytes are missing`);
}

/** As the driver gives them: a BSON binary, or plain bytes when it was told to. */
function bytesOf(data: unknown): Uint8Array | undefined {
  if (data instanceof Uint8Array) return data;
  const { _bsontype, buffer, position } = (data ?? {}) as {
    _bsontype?: unknown;
    buffer?: unknown;
    position?: number;
  };
  return _bsontype === 'Binary' && buffer instanceof Uint8Array ? buffer.subarray(0, position) : undefined;
}
