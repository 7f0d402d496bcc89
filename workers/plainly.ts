/**
 * What a process cannot go on with, in one line that says what to do; anything that is not foreseen keeps its stack.
 * To be imported first.
 */
import '../src/config/node-version.ts';
import { isTurnsError, messageOf } from '../src/errors.ts';

/** Errors of the system by code: nothing of ours is wrong then. */
const sayings: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process has this port; choose another one, or end that process',
  EADDRNOTAVAIL: 'this machine has no such address; choose another host',
  EACCES: 'the system does not allow it: ports below 1024 are for root, files may belong to somebody else',
  EROFS: 'nothing can be written there; choose a directory that can be written',
};

process.on('uncaughtException', (error: unknown) => {
  const saying = sayings[String((error as NodeJS.ErrnoException | undefined)?.code)];
  if (saying === undefined && !isTurnsError(error)) console.error(error);
  else
    console.error(
      `[opencode-turns] ${[messageOf(error), saying ?? []].flat().join(': ').replace(/\s+/g, ' ')}`,
    );
  process.exit(1);
});
