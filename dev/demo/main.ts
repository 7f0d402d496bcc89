/**
 * The demo: real services, a worker process and the board started as the Procfile does, and one turn to watch.
 * Whatever happens, nothing is left behind: what was started is stopped in reverse, and ends with us if we die.
 * Exit codes: 0 for a completed turn, 1 for anything else, 2 for wrong options, 128 + n for signal number n.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import { Closers } from '../../src/closers.ts';
import { messageOf } from '../../src/errors.ts';
import { type DemoOptions, demoOptions, usage } from './options.ts';
import { runDemo } from './run.ts';
import { Screen } from './screen.ts';

const closers = new Closers();

function readOptions(): DemoOptions {
  try {
    return demoOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${messageOf(error)}\n\n${usage}`);
    process.exit(2);
  }
}

async function leave(screen: Screen, code: number): Promise<never> {
  await closers.close().catch((error: AggregateError) => {
    for (const problem of error.errors) screen.line(messageOf(problem), 'red');
  });
  process.exit(code);
}

/** The first signal stops everything in order; a second one leaves at once, and what runs ends with us. */
function obeySignals(screen: Screen): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      const code = 128 + constants.signals[signal];
      if (closers.closed) process.exit(code);
      screen.line(`\n${signal}: stopping everything`, 'yellow');
      void leave(screen, code);
    });
  }
}

async function demo(options: DemoOptions): Promise<void> {
  const screen = new Screen(options.json ? process.stderr : process.stdout);
  obeySignals(screen);
  try {
    const directory = mkdtempSync(path.join(tmpdir(), 'opencode-turns-demo-'));
    closers.add('sandbox', async () => rmSync(directory, { recursive: true, force: true }));
    const password = randomBytes(9).toString('base64url');
    const result = await runDemo(options, { screen, closers, directory, password });
    if (options.json) console.log(JSON.stringify(result));
    if (options.keep) screen.line('\nEverything goes on running; Ctrl-C ends it.', 'bold');
    else await leave(screen, result.status === 'completed' ? 0 : 1);
  } catch (error) {
    // While everything is being stopped, whatever was under way fails; that is no news.
    if (closers.closed) return;
    screen.line(`\n${messageOf(error)}`, 'red');
    await leave(screen, 1);
  }
}

const options = readOptions();
if (options.help) console.log(usage);
else await demo(options);
