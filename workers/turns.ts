/**
 * The turn worker. OPENCODE_TURNS_POLICIES names a module whose default export is a table of policies; without it there
 * is one policy `default`, with OPENCODE_TURNS_MODEL and OPENCODE_TURNS_AGENT. A host whose conversations are documents of its
 * own exports that model from there as `conversations`. SIGTERM and SIGINT: no new turns, a grace for those that run, the rest
 * handed back, exit 0. A second signal leaves at once with code 130.
 */
import './plainly.ts';
import { workerFromEnv } from '../src/config/env.ts';
import { configFromEnv, connect, consoleLogger, jsonLogger } from '../src/index.ts';
import { serveHealth } from '../src/operate/health.ts';
import { type Given, givenIn } from './policies.ts';

const {
  work,
  shutdownMs,
  healthPort,
  logFormat,
  policies: module,
  model,
  agent,
} = workerFromEnv(process.env);

async function load(): Promise<Given> {
  if (module) return givenIn(module);
  return { policies: { default: { ...(model ? { model } : {}), ...(agent ? { agent } : {}) } } };
}

const { policies, conversations } = await load();
const logger = logFormat === 'json' ? jsonLogger : consoleLogger;
const turns = await connect({ ...configFromEnv(), logger, ...(conversations ? { conversations } : {}) });
await turns.createIndexes();

let leaving = false;
async function leave(signal: NodeJS.Signals): Promise<void> {
  if (leaving) process.exit(130);
  leaving = true;
  const { handedBack } = await (await starting).stop(shutdownMs);
  console.log(JSON.stringify({ stopped: true, signal, handedBack }));
  await (await health).close();
  await turns.close();
  await conversations?.db.close();
  // The event loop is empty now: the process ends once telemetry is sent (3 s at most), or what a vendor left running.
  setTimeout(() => process.exit(0), 4_000).unref();
}
// Before the first job is taken: a signal that comes while the worker starts must not cost a turn its owner.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void leave(signal));

const starting = turns.work({ ...work, policies });
const health = starting.then((worker) =>
  serveHealth({
    ...(healthPort === undefined ? {} : { port: healthPort }),
    alive: () => worker.state !== 'stopped',
  }),
);
await health;
console.log(JSON.stringify({ ready: true, worker: 'turns', pid: process.pid }));
