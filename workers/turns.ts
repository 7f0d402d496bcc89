/**
 * The turn worker. TURNS_POLICIES names a module whose default export is a table of policies; without it there
 * is one policy `default`, with OPENCODE_MODEL and OPENCODE_AGENT. A host whose conversations are documents of its own
 * exports that model from there as `conversations`. SIGTERM and SIGINT: no new turns, a grace
 * for those that run, the rest handed back, exit 0. A second signal leaves at once with code 130.
 */
import './plainly.ts';
import { checkEnvNames } from '../src/config/env-names.ts';
import { configFromEnv, connect } from '../src/index.ts';
import { serveHealth } from '../src/operate/health.ts';
import { type Given, givenIn, loggerOf, maxPort, variables, wholeNumber } from './policies.ts';

const {
  TURNS_POLICIES,
  TURNS_CONCURRENCY = '50',
  TURNS_SHUTDOWN_MS = '10000',
  TURNS_LOG_FORMAT = 'text',
  OPENCODE_MODEL,
  OPENCODE_AGENT,
} = process.env;

async function load(): Promise<Given> {
  if (TURNS_POLICIES) return givenIn(TURNS_POLICIES);
  const policy = {
    ...(OPENCODE_MODEL ? { model: OPENCODE_MODEL } : {}),
    ...(OPENCODE_AGENT ? { agent: OPENCODE_AGENT } : {}),
  };
  return { policies: { default: policy } };
}

checkEnvNames(process.env, 'TURNS_', variables);
const concurrency = wholeNumber('TURNS_CONCURRENCY', TURNS_CONCURRENCY);
const shutdownMs = wholeNumber('TURNS_SHUTDOWN_MS', TURNS_SHUTDOWN_MS);
const given = (option: string, name: string, max?: number): Record<string, number> =>
  process.env[name] ? { [option]: wholeNumber(name, process.env[name], max) } : {};
const healthPort = given('port', 'TURNS_HEALTH_PORT', maxPort);

const { policies, conversations } = await load();
const logger = loggerOf(TURNS_LOG_FORMAT);
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

const starting = turns.work({
  policies,
  concurrency,
  ...given('lockMs', 'TURNS_LOCK_MS'),
  ...given('stalledCheckMs', 'TURNS_STALLED_CHECK_MS'),
});
const health = starting.then((worker) =>
  serveHealth({ ...healthPort, alive: () => worker.state !== 'stopped' }),
);
await health;
console.log(JSON.stringify({ ready: true, worker: 'turns', pid: process.pid }));
