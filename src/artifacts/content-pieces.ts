import { checkSignal } from '../checking/check-signal.ts';
import { requireWellFormed } from '../checking/well-formed.ts';
import { InvalidInputError } from '../errors.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';

/** The bytes of a new file: all of them, or as they come. Texts of a stream are written as UTF-8. */
export type FileContent = Uint8Array | AsyncIterable<Uint8Array | string>;

/** How long the source of a file that is stored may say nothing. */
export const maxSilentMs = 30_000;

export interface PiecesOptions {
  readonly maxPieceBytes: number;
  /** A source that says nothing for so long is given up. Default: it has all the time that the signal leaves it. */
  readonly silentMs?: number;
}

/**
 * The content in pieces of at most `maxPieceBytes`. A source that went silent does not outlive the signal. Throws
 * InvalidInputError for a source that yields neither bytes nor text, or is silent for `silentMs`, and what the source throws.
 */
export async function* piecesOf(
  content: FileContent,
  { maxPieceBytes, silentMs }: PiecesOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  checkSignal(signal);
  const source = content instanceof Uint8Array ? oneOf(content) : content[Symbol.asyncIterator]();
  const next = () => asked(source, silentMs, signal);
  const encoder = new PieceEncoder();
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await next();
      const bytes = done ? encoder.end() : encoder.bytesOf(value);
      for (let from = 0; from < bytes.byteLength; from += maxPieceBytes) {
        signal?.throwIfAborted();
        yield bytes.subarray(from, from + maxPieceBytes);
      }
      if (done) return;
    }
  } finally {
    // Not waited for: a source that hangs in `next` hangs here as well.
    void Promise.resolve(source.return?.()).catch(() => undefined);
  }
}

async function asked(
  source: AsyncIterator<unknown>,
  silentMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<IteratorResult<unknown>> {
  if (silentMs === undefined) return unlessAborted(source.next(), signal);
  return within(
    silentMs,
    async (limit) => {
      try {
        return await unlessAborted(source.next(), limit);
      } catch (cause) {
        if (!limit.aborted || signal?.aborted) throw cause;
        throw new InvalidInputError('content', `its stream was silent for ${silentMs} ms`, { cause });
      }
    },
    signal,
  );
}

/** Bytes as they are, texts as UTF-8: a pair of surrogates may come in two pieces. */
class PieceEncoder {
  #half = '';

  bytesOf(piece: unknown): Uint8Array {
    if (typeof piece === 'string') {
      const text = this.#half + piece;
      this.#half = /[\ud800-\udbff]$/.exec(text)?.[0] ?? '';
      const whole = text.slice(0, text.length - this.#half.length);
      requireWellFormed('content', whole);
      return Buffer.from(whole);
    }
    if (!(piece instanceof Uint8Array))
      throw new InvalidInputError('content', 'its stream must yield Buffers, Uint8Arrays or strings');
    this.end();
    return piece;
  }

  /** Throws InvalidInputError when the other half of a pair can no longer come. */
  end(): Uint8Array {
    requireWellFormed('content', this.#half);
    return new Uint8Array();
  }
}

async function* oneOf(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}
