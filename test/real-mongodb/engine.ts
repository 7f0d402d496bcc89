import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** The engine of a run, which can be killed: REAL_MONGODB is the tool that runs it, REAL_MONGODB_DIR its instance. */
export interface Engine {
  readonly url: string;
  /** SIGKILL, to the database and its front end at once; what was acknowledged is on the disk. */
  crash(): Promise<void>;
  /** Starts it again, on the same port over the same data. */
  up(): Promise<void>;
  /** Whether both of its processes do. */
  runs(): Promise<boolean>;
}

/** Throws when the environment names none. */
export function theEngine(): Engine {
  const { REAL_MONGODB: tool, REAL_MONGODB_DIR: dir, MONGODB_URL: url } = process.env;
  if (!tool || !dir || !url)
    throw new Error(
      'REAL_MONGODB, REAL_MONGODB_DIR and MONGODB_URL name the engine to kill; see .ci/real-mongodb',
    );
  const run = async (command: string) => {
    await promisify(execFile)(tool, [command, '--dir', dir]);
  };
  return {
    url,
    crash: () => run('crash'),
    up: () => run('up'),
    runs: () =>
      run('status').then(
        () => true,
        () => false,
      ),
  };
}
