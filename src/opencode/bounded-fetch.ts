import { Agent } from 'undici';

/** Requests that are under way at once to one server; more wait here. After a gap all live turns look at once. */
const maxSockets = 256;

/** `fetch` with sockets of its own, bounded in number, so that a crowd of turns costs neither side a crowd of them. */
export function boundedFetch(): typeof fetch {
  const dispatcher = new Agent({ connections: maxSockets });
  return (input, init) => fetch(input, { ...init, dispatcher } as unknown as RequestInit);
}
