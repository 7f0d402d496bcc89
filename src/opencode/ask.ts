import {
  AnswerTooLargeError,
  ConnectionError,
  ForeignAnswerError,
  messageOf,
  TimeoutError,
  type TurnsError,
} from '../errors.ts';
import { printable } from '../instrumentation/printable.ts';
import { TimeLimit } from '../timing/time-limit.ts';
import type { Answer } from './answer.ts';
import type { Transport } from './transport.ts';

/** One request and its bounds. */
export interface Question {
  readonly method: string;
  /** The route's template, without ids: it goes into errors and spans. */
  readonly path: string;
  /** From the request to the last byte of the answer. */
  readonly timeoutMs: number;
  /** Of the answer's body, after decompression. */
  readonly maxBytes: number;
  /** Hands one request to the given `fetch`, and gives it the signal. */
  readonly send: (options: {
    readonly signal: AbortSignal;
    readonly fetch: typeof fetch;
  }) => Promise<unknown>;
}

/** Sends, and returns what came back; everything that is no whole answer becomes an error. */
export async function ask(
  { method, path, timeoutMs, maxBytes, send }: Question,
  transport: Transport,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const limit = new TimeLimit(timeoutMs, signal);
  let answer: Promise<Answer> | undefined;
  const taken: typeof fetch = async (input) => {
    answer = transport(input as Request, maxBytes);
    await answer;
    // The client that made the request need not judge what came back: that is done here.
    return new Response(null, { status: 204 });
  };
  try {
    const sent = await send({ signal: limit.signal, fetch: taken });
    if (answer) return await answer;
    throw new TypeError('nothing was sent', { cause: sent });
  } catch (cause) {
    signal?.throwIfAborted();
    throw notAnswered(cause, { method, path }, limit.passed ? timeoutMs : undefined);
  } finally {
    limit.end();
  }
}

/** Codes of undici and zlib for answers that came and were none. */
const headersTooLarge = 'UND_ERR_HEADERS_OVERFLOW';
const notAsEncoded = /^Z_|^ERR__?(ZLIB|BROTLI)/;

/** The error for a request without a whole answer. `passedMs`: the time limit, if that was why. */
export function notAnswered(
  error: unknown,
  facts: { readonly method: string; readonly path: string },
  passedMs: number | undefined,
): TurnsError {
  if (passedMs !== undefined)
    return new TimeoutError(`no whole answer within ${passedMs} ms`, facts, { cause: error });
  if (error instanceof RangeError)
    return new AnswerTooLargeError(`${error.message}; the connection was closed`, facts, { cause: error });
  const { cause } = (error ?? {}) as { cause?: unknown };
  const code = codeOf(error) ?? codeOf(cause);
  // By its words, too: `fetch` wraps an error of another realm, and its code is lost.
  if (code === headersTooLarge || /\bHeaders Overflow\b/.test(String(cause)))
    return new AnswerTooLargeError('a header block too large; the connection was closed', facts, {
      cause: error,
    });
  if (code !== undefined && notAsEncoded.test(code))
    return new ForeignAnswerError(`a body that is not encoded as it says (${code})`, facts, { cause: error });
  return new ConnectionError(`cannot be reached (${code ?? printable(messageOf(error))})`, facts, {
    cause: error,
  });
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
