/**
 * The demo: real services, a worker process and the board started as the Procfile does, and one turn to watch.
 * Whatever happens, nothing is left behind: what was started is stopped in reverse, and ends with us if we die.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Closers } from '../../closers.ts';
import { messageOf } from '../../errors.ts';
import { demoOptions, usage } from './options.ts';
import { runDemo } from './run.ts';
import { Screen } from './screen.ts';

const options = demoOptions(process.argv.slice(2));
const screen = new Screen(options.json ? process.stderr : process.stdout);
const closers = new Closers();

async function leave(code: number): Promise<never> {
  await closers.close().catch((error: AggregateError) => {
    for (const problem of error.errors) screen.line(messageOf(problem), 'red');
  });
  process.exit(code);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (closers.closed) return;
    screen.line(`${signal}: stopping`, 'yellow');
    void leave(130);
  });
}

if (options.help) {
  console.log(usage);
} else {
  try {
    const directory = mkdtempSync(path.join(tmpdir(), 'opencode-turns-demo-'));
    closers.add('sandbox', async () => rmSync(directory, { recursive: true, force: true }));
    const password = randomBytes(9).toString('base64url');
    const result = await runDemo(options, { screen, closers, directory, password });
    if (options.keep) screen.line('\nEverything goes on running; Ctrl-C ends it.', 'bold');
    else await closers.close();
    if (options.json) console.log(JSON.stringify(result));
    if (!options.keep) process.exit(result.status === 'completed' ? 0 : 1);
  } catch (error) {
    if (!closers.closed) {
      screen.line(messageOf(error), 'red');
      await leave(1);
    }
  }
}
