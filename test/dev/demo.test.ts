import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { eventually } from '../support/eventually.ts';
import { type Traces, traces } from '../support/left-behind.ts';
import { openCode2 } from '../support/opencode-2x.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const port = /:\/\/127\.0\.0\.1:(\d+)/;

interface Demo {
  readonly process: ChildProcess;
  readonly out: string[];
  readonly err: string[];
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>;
  /** Resolves once a line of either output matches. */
  saw(pattern: RegExp): Promise<string>;
}

let left: Traces;
let running: Demo | undefined;
beforeEach(() => {
  left = traces();
});
afterEach(() => {
  // A test that failed midway: its group goes, and what the group started goes with it.
  const { process: child } = running ?? {};
  if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null)
    process.kill(-child.pid, 'SIGKILL');
  left.remove();
});

/** The built demo in a group of its own, as a terminal starts it; on services of its own. */
function demo(args: readonly string[], env: NodeJS.ProcessEnv = {}): Demo {
  const { REDIS_URL, MONGODB_URL, OPENCODE_URL, OTEL_EXPORTER_OTLP_ENDPOINT, ...inherited } = process.env;
  const child = spawn(process.execPath, ['dist/dev/demo/main.js', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...inherited, ...left.env, ...env },
  });
  const out: string[] = [];
  const err: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => out.push(line));
  createInterface({ input: child.stderr }).on('line', (line) => err.push(line));
  const saw = (pattern: RegExp) =>
    eventually(() => {
      const line = [...out, ...err].find((one) => pattern.test(one));
      if (line === undefined) throw new Error(`no ${pattern} in ${[...out, ...err].join('\n')}`);
      return line;
    }, 90_000);
  running = { process: child, out, err, saw, exited: once(child, 'close') as Demo['exited'] };
  return running;
}

/** As Ctrl-C in a terminal: every process of the foreground group gets it. */
const interrupt = ({ process: { pid } }: Demo) => process.kill(-Number(pid), 'SIGINT');

async function refused(url: string): Promise<boolean> {
  return fetch(url).then(
    () => false,
    () => true,
  );
}

it('--json: one line on stdout with the turn, exit 0, and nothing left behind', async () => {
  const { out, err, exited } = demo(['--json']);
  expect(await exited).toEqual([0, null]);
  expect(out).toHaveLength(1);
  expect(JSON.parse(out[0] ?? '')).toEqual({
    turnId: expect.stringMatching(/^[0-9a-f]{24}$/),
    sessionId: expect.stringMatching(/^ses_/),
    status: 'completed',
    text: 'I will write the haiku to a file first. \n\nDone: haiku.md holds three lines about jobs that wait, workers that fall, and turns that are never lost.',
    parts: ['reasoning', 'text', 'tool:write', 'text'],
    artifacts: [{ filename: 'haiku.md', bytes: 72 }],
    modelRequests: 2,
    durationMs: expect.any(Number),
    timeToFirstTokenMs: expect.any(Number),
    traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
  });
  expect(err.join('\n')).toMatch(
    /queued in BullMQ\n.*taken by the worker\n.*prompted on the OpenCode server\n.*✓ Wrote haiku\.md\n.*haiku\.md \(72 bytes\)\n\ncompleted\n.*turn\.request.*\n *turn\.enqueue/s,
  );
  // Nothing went wrong, so nothing in the trace says so: not a script either that a fresh Redis did not know.
  expect(err.filter((line) => / failed$/.test(line))).toEqual([]);
  const { durationMs, timeToFirstTokenMs } = JSON.parse(out[0] ?? '');
  expect(timeToFirstTokenMs).toBeGreaterThan(0);
  expect(durationMs).toBeGreaterThan(timeToFirstTokenMs);
  await left.gone();
  const ports = err.flatMap((line) => port.exec(line)?.[1] ?? []);
  expect(ports.length).toBeGreaterThanOrEqual(4);
  for (const one of ports) expect(await refused(`http://127.0.0.1:${one}`)).toBe(true);
});

it('--keep: leaves everything open until Ctrl-C', async () => {
  const shown = demo(['--keep']);
  await shown.saw(/goes on running/);
  const text = shown.out.join('\n');
  const [, board, password] =
    /board +(http\S+) +user demo, password (\S+)/.exec(text.split('Links').at(-1) ?? '') ?? [];
  const authorization = `Basic ${Buffer.from(`demo:${password}`).toString('base64')}`;
  expect((await fetch(String(board), { headers: { authorization } })).status).toBe(200);
  // What is printed for a second terminal works there as it is printed.
  const [, chat = ''] = /another terminal: (.+)/.exec(text) ?? [];
  const server = spawn('sh', ['-c', `PORT=0 ${chat}`], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const [address] = (await once(createInterface({ input: server.stdout }), 'line')) as [string];
  expect(await (await fetch(address)).text()).toContain('Web chat');
  process.kill(-Number(server.pid), 'SIGTERM');
  await once(server, 'exit');
  expect(shown.process.exitCode).toBeNull();
  interrupt(shown);
  expect(await shown.exited).toEqual([130, null]);
  await left.gone();
  expect(await refused(String(board))).toBe(true);
});

it('Ctrl-C while the turn runs ends everything in order, without a complaint', async () => {
  const cut = demo([]);
  await cut.saw(/prompted on the OpenCode server/);
  interrupt(cut);
  expect(await cut.exited).toEqual([130, null]);
  await left.gone();
  const after = [...cut.out.slice(cut.out.findIndex((line) => line.includes('SIGINT'))), ...cut.err];
  expect(after).toEqual(['SIGINT: stopping everything']);
});

it.each([
  ['SIGTERM', [143, null]],
  ['SIGKILL', [null, 'SIGKILL']],
] as const)('%s while services boot leaves no process behind', async (signal, end) => {
  const cut = demo([]);
  await cut.saw(/redis:\/\//);
  expect(left.processes().length).toBeGreaterThan(3);
  cut.process.kill(signal);
  expect(await cut.exited).toEqual(end);
  await eventually(() => expect(left.processes()).toEqual([]));
});

it('a turn that fails: says why, exits 1, and leaves nothing behind', async () => {
  const { out, exited } = demo(['--model', 'nosuch/model']);
  expect(await exited).toEqual([1, null]);
  const text = out.join('\n');
  expect(text).toMatch(/error +provider_not_configured: No access key .*Model not found: nosuch\/model/);
  expect(text).not.toMatch(/undefined| at /);
  await left.gone();
});

it('an option that is none is refused before anything starts', async () => {
  const { out, err, exited } = demo(['--model', 'nonsense']);
  expect(await exited).toEqual([2, null]);
  expect(err[0]).toBe('--model: must be provider/model, not "nonsense"');
  expect(out).toEqual([]);
});

it('pointed at a server of OpenCode 2: one line says which versions would do, and nothing is left behind', async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://here');
    asked.push(`${request.method} ${pathname}`);
    const { status, headers = {}, body = '' } = openCode2({ method: String(request.method), path: pathname });
    response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const { out, err, exited } = demo([], { OPENCODE_URL: url, OPENCODE_SERVER_PASSWORD: 'secret' });
    expect(await exited).toEqual([1, null]);
    expect([...out, ...err].filter((line) => line.includes('OPENCODE_URL'))).toEqual([
      `OPENCODE_URL: the server at ${url} is OpenCode 2.0.26; this library speaks with OpenCode 1.x (tested with 1.18)`,
    ]);
    expect([...out, ...err].join('\n')).not.toMatch(/undefined|\n +at /);
    expect(asked).toEqual(['GET /global/health', 'GET /api/info']);
    await left.gone();
  } finally {
    server.close();
  }
});
