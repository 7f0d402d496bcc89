import { Agent } from 'undici';
import type { Answer } from './answer.ts';
import { LargeBodies } from './large-bodies.ts';

/** Requests that are under way at once to one server; more wait here. After a gap all live turns look at once. */
const maxSockets = 256;
/** The longest header block that is believed; that of the event streams, too. */
export const maxHeaderBytes = 32 * 1024;
/** Bodies up to this size are read as they come; larger ones a few at a time. */
const largeBytes = 1024 * 1024;
const largeAtOnce = 4;

/**
 * One request, and its whole answer with at most `maxBytes` of body, after decompression; throws RangeError for more,
 * and the connection is closed. No redirect is followed. The request's signal is the only limit in time. Throws what
 * `fetch` throws.
 */
export type Transport = (request: Request, maxBytes: number) => Promise<Answer>;

/** Sockets of its own, bounded in number, so that a crowd of turns costs neither side a crowd of them. */
export function openTransport(): Transport {
  const dispatcher = new Agent({ connections: maxSockets, maxHeaderSize: maxHeaderBytes });
  const large = new LargeBodies(largeAtOnce);
  return async (request, maxBytes) => {
    const response = await fetch(request, { redirect: 'manual', dispatcher } as unknown as RequestInit);
    const { status, headers } = response;
    return {
      status,
      contentType: headers.get('content-type') ?? '',
      retryAfter: headers.get('retry-after') ?? undefined,
      location: headers.get('location') ?? undefined,
      body: await read(response, maxBytes, large, request.signal),
    };
  };
}

async function read(
  { body }: Response,
  maxBytes: number,
  large: LargeBodies,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  let giveBack: (() => void) | undefined;
  try {
    // Leaving the loop, by whichever way, cancels the body.
    for await (const piece of body ?? []) {
      bytes += piece.byteLength;
      if (bytes > maxBytes) throw new RangeError(`a body of more than ${maxBytes} bytes`);
      if (bytes > largeBytes) giveBack ??= await large.take(signal);
      pieces.push(piece);
    }
    return Buffer.concat(pieces, bytes);
  } finally {
    giveBack?.();
  }
}
