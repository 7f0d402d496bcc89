/** In front of each quick test: a process or a socket that is opened all the same is an error, not a slow test. */
import { ChildProcess } from 'node:child_process';
import { Server, Socket } from 'node:net';

const refuse = (what) => () => {
  throw new Error(`a quick test ${what}: import it so that test/quick/quick-tests.ts sees it`);
};
ChildProcess.prototype.spawn = refuse('started a process');
Socket.prototype.connect = refuse('opened a connection');
Server.prototype.listen = refuse('listened');
