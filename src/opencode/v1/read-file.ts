import { z } from 'zod';
import { AnswerTooLargeError, FileTooLargeError } from '../../errors.ts';
import type { UpstreamFile } from '../../ports/upstream.ts';
import type { ServerAddress } from '../address.ts';
import type { Call } from '../http-call.ts';

const bytes = z.instanceof(Uint8Array);

/**
 * The bytes of one file by `/api/fs/read`, which the generated client cannot call (its route ends in a star). The
 * older `/file/content` is of no use: it trims texts, and answers an empty text for a file that is not there
 * (OpenCode 1.18.33, checked live). Null when the server gives none: it says 500 in its own words for what is missing,
 * a folder, or a link that leads outside. Throws FileTooLargeError, having read no more than the cap, and upstream's
 * errors.
 */
export async function readFile(
  { server, headers }: ServerAddress,
  { directory, path, maxBytes }: UpstreamFile,
  run: (call: Omit<Call<Uint8Array | null>, 'timeoutMs'>) => Promise<Uint8Array | null>,
): Promise<Buffer | null> {
  // A client resolves these by itself, and would ask for another route.
  if (path.split('/').some((part) => ['', '.', '..'].includes(part))) return null;
  const route = path.split('/').map(encodeURIComponent).join('/');
  const url = `${server}/api/fs/read/${route}?location[directory]=${encodeURIComponent(directory)}`;
  const send: Call<unknown>['send'] = ({ signal, fetch }) =>
    fetch(new Request(url, { headers: { ...headers }, signal }));
  try {
    const answer = await run({
      method: 'GET',
      path: '/api/fs/read/*',
      route: /\.x?html?$/i.test(path) ? 'page' : 'file',
      maxBytes,
      schema: bytes,
      // Nothing is done about a file that is not there, so one answer will do.
      absent: { answer: null, confirmed: async () => true },
      send,
    });
    if (answer === null) return null;
    return Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  } catch (error) {
    if (error instanceof AnswerTooLargeError) throw new FileTooLargeError(lastPart(path), maxBytes);
    throw error;
  }
}

const lastPart = (path: string) => path.slice(path.lastIndexOf('/') + 1);
