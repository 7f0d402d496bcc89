import { z } from 'zod';
import { FileTooLargeError, ServerError } from '../errors.ts';
import type { ServerAddress } from './basic-auth.ts';
import type { Call } from './upstream-call.ts';

const bytesOrTooLarge = z.union([z.instanceof(Uint8Array), z.literal('too large')]);
type Answer = z.infer<typeof bytesOrTooLarge>;

export interface FileQuery {
  readonly directory: string;
  /** Below the directory, with slashes. */
  readonly path: string;
  readonly maxBytes: number;
}

/** Where it is, and the sockets to reach it by. */
export interface FileServer {
  readonly address: ServerAddress;
  readonly fetch: typeof fetch;
}

/**
 * The bytes of one file by `/api/fs/read`, which the generated client cannot call (its route ends in a star). The
 * older `/file/content` is of no use: it trims texts, and answers an empty text for a file that is not there
 * (OpenCode 1.18.33, checked live). Null when the server gives none: it says 500 for what is missing, a folder,
 * or a link that leads outside. Throws FileTooLargeError, having read no more than the cap, and upstream's errors.
 */
export async function readFile(
  { address, fetch }: FileServer,
  query: FileQuery,
  run: (call: Omit<Call<Answer>, 'timeoutMs'>) => Promise<Answer>,
): Promise<Buffer | null> {
  // A client resolves these by itself, and would ask for another route.
  if (query.path.split('/').some((part) => ['', '.', '..'].includes(part))) return null;
  const send = (signal: AbortSignal) => fetchFile({ address, fetch }, query, signal);
  try {
    const answer = await run({ method: 'GET', path: '/api/fs/read/*', schema: bytesOrTooLarge, send });
    if (answer === 'too large') throw new FileTooLargeError(lastPart(query.path), query.maxBytes);
    return Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  } catch (error) {
    if (error instanceof ServerError && error.facts.status === 500) return null;
    throw error;
  }
}

async function fetchFile(
  { address: { server, headers }, fetch }: FileServer,
  { directory, path, maxBytes }: FileQuery,
  signal: AbortSignal,
): Promise<{ data?: Answer; error?: unknown; response?: Response }> {
  const route = path.split('/').map(encodeURIComponent).join('/');
  const url = `${server}/api/fs/read/${route}?location[directory]=${encodeURIComponent(directory)}`;
  let response: Response;
  try {
    response = await fetch(url, { headers: { ...headers }, signal });
  } catch (error) {
    return { error };
  }
  if (!response.ok) return { response, error: await response.text().catch(() => '') };
  return { response, data: await bounded(response, maxBytes) };
}

async function bounded(response: Response, maxBytes: number): Promise<Answer> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    bytes += piece.byteLength;
    // Leaving the loop cancels the body.
    if (bytes > maxBytes) return 'too large';
    pieces.push(piece);
  }
  return Buffer.concat(pieces, bytes);
}

const lastPart = (path: string) => path.slice(path.lastIndexOf('/') + 1);
