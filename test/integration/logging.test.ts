import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { connect, InvalidConfigError, type Logger, type TurnsOptions } from '../../src/index.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;
beforeAll(async () => {
  system = await startSystem();
  await (await system.connect()).createIndexes();
}, 90_000);
afterAll(() => system.stop());

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** As pino is called. */
function keepingLogger(): { logger: Logger; lines: Line[] } {
  const lines: Line[] = [];
  const keep = (level: string) => (fields: Line['fields'], message: string) => {
    lines.push({ level, message, fields });
  };
  return { logger: { info: keep('info'), warn: keep('warn'), error: keep('error') }, lines };
}

/** Runs one turn that goes well and one that fails; returns their ids. */
async function twoTurns(more: Partial<TurnsOptions>): Promise<readonly [string, string]> {
  const { reporter: _collecting, ...options } = system.options;
  const turns = await connect({ ...options, ...more });
  try {
    await turns.work({ policies: { default: system.policy } });
    system.respond(() => ({ text: ['done'] }));
    const good = await runTurn(turns, await newConversation(turns), 'one');
    expect(good.stored.status).toBe('completed');
    const body = { error: { message: 'the words of a provider', type: 'auth' } };
    system.respond(() => ({ error: { status: 401, body } }));
    const bad = await runTurn(turns, await newConversation(turns), 'two');
    expect(bad.stored.status).toBe('error');
    return [good.id, bad.id];
  } finally {
    await turns.close();
  }
}

const finished = (lines: readonly Line[]) => lines.filter(({ fields }) => 'durationMs' in fields);

it('a logger gets one line for each finished turn, a failed one as an error with its reason', async () => {
  const { logger, lines } = keepingLogger();
  const [good, bad] = await twoTurns({ logger });
  expect(finished(lines)).toEqual([
    {
      level: 'info',
      message: 'turn finished',
      fields: expect.objectContaining({ turnId: good, policy: 'default', status: 'completed' }),
    },
    {
      level: 'error',
      message: expect.stringContaining(bad),
      fields: expect.objectContaining({
        action: 'turn.finished',
        code: 'turn_failed',
        turnId: bad,
        reason: 'provider_authentication',
      }),
    },
  ]);
  expect(JSON.stringify(lines)).not.toContain('the words of');
}, 30_000);

it('beside a reporter it gets what is no error, and nothing twice', async () => {
  const { logger, lines } = keepingLogger();
  const reported: unknown[] = [];
  const report = (_error: unknown, { turnId, action }: Readonly<Record<string, unknown>>) => {
    if (action === 'turn.finished') reported.push(turnId);
  };
  const [good, bad] = await twoTurns({ logger, reporter: { report } });
  expect(finished(lines).map(({ fields }) => fields.turnId)).toEqual([good]);
  expect(reported).toEqual([bad]);
}, 30_000);

it('one that fails breaks no turn, neither does a meter, a tracer or a reporter', async () => {
  const fails = (): never => {
    throw new Error('broken');
  };
  const failsLater = async (): Promise<never> => fails();
  for (const does of [fails, failsLater]) {
    const port = new Proxy({}, { get: () => does }) as never;
    await twoTurns({ logger: port, meter: port, tracer: port, reporter: port });
  }
}, 60_000);

it('what is none is refused', async () => {
  const options = { ...system.options, logger: { info: () => undefined } as never };
  await expect(connect(options)).rejects.toThrow(InvalidConfigError);
  await expect(connect(options)).rejects.toThrow(/logger: must be an object with info, warn, error/);
});
