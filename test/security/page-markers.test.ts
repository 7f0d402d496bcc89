/** What people and programs see of a turn beside the turn itself: the demo, the example chat, the board. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { eventually } from '../support/eventually.ts';
import { exampleEnvironment } from '../support/example-environment.ts';
import { type RawCollector, startRawCollector } from '../support/raw-collector.ts';
import { startSystem, type TestSystem } from '../support/system.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const mark = (name: string) => `marker-${name}-6c1f`;
const user = 'admin';

/** Where each marker may be found, and is: a row that nothing plants any more fails, too. */
const rows: Readonly<Record<string, readonly string[]>> = {
  // What the person has typed stands on his own screen and page; the page keeps it, the chat's server does not repeat it.
  text: ['demo screen'],
  reply: ['chat events', 'demo JSON', 'demo screen'],
  reasoning: ['chat events', 'demo screen'],
  fileName: ['chat events', 'demo JSON', 'demo screen'],
  fileContent: ['chat events'],
  command: ['chat events', 'demo screen'],
  output: ['chat events'],
  // What upstream said of a failure is for operators, who read it in the stored turn.
  upstreamError: ['demo screen'],
  key: [],
  header: [],
  cookie: [],
  // An id that is none is told to whoever has typed it.
  urlPath: ['chat API'],
  urlQuery: [],
  guess: [],
  redisPassword: [],
  boardPassword: [],
  // The demo prints where its server is and how to sign in there, to the person who has started it.
  openCodePassword: ['demo screen'],
};
const names = Object.keys(rows);
const marks: Record<string, string> = Object.fromEntries(names.map((name) => [name, mark(name)]));
const places: Record<string, string> = {};
const put = (place: string, content: string) => {
  places[place] = `${places[place] ?? ''}${content}\n`;
};

let system: TestSystem;
let redis: Service;
let admin: Redis;
let collector: RawCollector;
const children: ChildProcess[] = [];

beforeAll(async () => {
  [system, redis, collector] = await Promise.all([
    startSystem(),
    startRedis(() => undefined, { 'notify-keyspace-events': '' }),
    startRawCollector(),
  ]);
  admin = new Redis(redis.url);
  await admin.config('SET', 'requirepass', marks.redisPassword ?? '');
  marks.openCodePassword = system.opencode.password ?? '';
  script();
  await chat();
  await board();
  await demo('tool');
  await demo('fail');
  await eventually(() => expect(collector.sent('/v1/traces')).toContain('demo-web-app'));
  places.spans = collector.sent('/v1/traces');
}, 240_000);
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  admin?.disconnect();
  collector?.stop();
  await Promise.all([redis?.stop(), system?.stop()]);
});

function script(): void {
  const {
    reply = '',
    reasoning = '',
    fileContent = '',
    fileName,
    command,
    output = '',
    upstreamError,
  } = marks;
  const [head = '', tail = ''] = output.split('-6');
  system.respond(({ userText, step, kind }) => {
    if (kind === 'other') return { text: ['A title.'] };
    if (userText.includes('fail'))
      return { error: { status: 400, body: { error: { message: upstreamError, type: 'invalid' } } } };
    if (step > 0) return { text: [reply, ' Done.'] };
    const print = `printf '%s%s' ${head} -6${tail} # ${command}`;
    return {
      reasoning: [reasoning],
      text: [reply],
      tools: [
        { name: 'bash', input: { command: print, description: 'Print' } },
        { name: 'write', input: { filePath: `${fileName}.txt`, content: fileContent } },
      ],
    };
  });
}

const environment = (): NodeJS.ProcessEnv => ({
  ...exampleEnvironment(system, 'page-markers'),
  REDIS_URL: redis.url.replace('redis://', `redis://:${marks.redisPassword}@`),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces`,
});

/** Starts a process whose every line is kept in a place; resolves with the first line on stdout. */
async function start(place: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  createInterface({ input: child.stderr }).on('line', (line) => put(place, line));
  const lines = createInterface({ input: child.stdout }).on('line', (line) => put(place, line));
  const [first] = (await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => Promise.reject(new Error(`${args.at(-1)}: ${places[place]}`))),
  ])) as [string];
  return first;
}

/** Keeps what is answered, headers included. */
async function ask(place: string, url: string, init: RequestInit = {}): Promise<string> {
  const response = await fetch(url, { redirect: 'manual', ...init });
  const body = await response.text();
  put(place, `${response.status} ${JSON.stringify([...response.headers])}\n${body}`);
  return body;
}

async function chat(): Promise<void> {
  const url = await start('chat log', ['--import', 'tsx', 'examples/web-chat/server.ts'], {
    ...environment(),
    PORT: '0',
  });
  const secret = { 'x-api-key': String(marks.header), cookie: `session=${marks.cookie}` };
  const api = (path: string, body: unknown = {}) =>
    ask('chat API', `${url}${path}?token=${marks.urlQuery}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...secret },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  for (const path of ['/', '/page.js', '/page.css', '/view.js', `/${marks.urlPath}`, '/%zz'])
    await ask('chat pages', `${url}${path}?token=${marks.urlQuery}`, { headers: secret });
  const { id } = JSON.parse(await api('/conversations')) as { id: string };
  for (const what of ['tool', 'fail']) {
    const said = { text: `${what} ${marks.text}`, idempotencyKey: `${marks.key}-${what}` };
    const turn = (JSON.parse(await api(`/conversations/${id}/turns`, said)) as { id: string }).id;
    const events = ask('chat events', `${url}/turns/${turn}/events?token=${marks.urlQuery}`, {
      headers: secret,
    });
    if (what === 'tool') await answer(url, turn, api);
    await events;
  }
  // What is refused, with what was typed in it.
  await api(`/conversations/${marks.urlPath}/turns`, { text: marks.text });
  await api(`/conversations/${id}/turns`, { text: { a: marks.text }, idempotencyKey: [marks.key] });
  await api(`/conversations/${id}/turns`, `{"text": "${marks.text}`);
  await api(`/turns/${marks.urlPath}/cancel`);
  await api(`/turns/${id}/requests/${marks.urlPath}`, { kind: marks.text });
  await ask('chat API', `${url}/turns/${marks.urlPath}/events`, {
    headers: { 'last-event-id': `${marks.header}` },
  });
}

async function answer(
  url: string,
  turn: string,
  api: (path: string, body: unknown) => Promise<string>,
): Promise<void> {
  const leave = new AbortController();
  const { body } = await fetch(`${url}/turns/${turn}/events`, { signal: leave.signal });
  let seen = '';
  for await (const bytes of body ?? []) {
    seen += Buffer.from(bytes).toString();
    const [, request] = /"requestId":"(per\w+)"/.exec(seen) ?? [];
    if (request === undefined) continue;
    await api(`/turns/${turn}/requests/${request}`, { kind: 'permission', reply: 'once' });
    break;
  }
  leave.abort();
}

async function board(): Promise<void> {
  const ready = await start('board log', ['dist/workers/board.js'], {
    ...environment(),
    OPENCODE_TURNS_BOARD_USER: user,
    OPENCODE_TURNS_BOARD_PASSWORD: marks.boardPassword,
    OPENCODE_TURNS_BOARD_PORT: '0',
  });
  const { url } = JSON.parse(ready) as { url: string };
  const signedIn = (password: unknown) => ({
    authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
    'x-api-key': String(marks.header),
    cookie: `session=${marks.cookie}`,
  });
  const get = (place: string, path: string, password = marks.boardPassword) =>
    ask(place, `${url}${path}`, { headers: signedIn(password) });
  const page = await get('board pages', '');
  for (const [, file] of page.matchAll(/(?:src|href)="(static\/[^"]+)"/g))
    await get('board pages', `/${file}`);
  await get('board pages', `/queue/turns?token=${marks.urlQuery}`);
  await get('board pages', `/${marks.urlPath}`);
  await get('board pages', '', marks.guess);
  let jobs = 0;
  for (const status of ['latest', 'active', 'waiting', 'completed', 'failed', 'delayed', 'prioritized']) {
    const query = `activeQueue=turns&status=${status}&page=1&jobsPerPage=50&token=${marks.urlQuery}`;
    const list = JSON.parse(await get('board API', `/api/queues?${query}`)) as {
      queues: { jobs: { id: string }[] }[];
    };
    for (const { id } of list.queues.flatMap((queue) => queue.jobs)) {
      jobs += 1;
      await get('board API', `/api/queues/turns/${id}`);
      await get('board API', `/api/queues/turns/${id}/logs`);
    }
  }
  expect(jobs).toBeGreaterThanOrEqual(2);
  await get('board API', `/api/queues/turns/${marks.urlPath}`);
  await get('board API', '/api/redis/stats');
}

async function demo(what: string): Promise<void> {
  const said = `${what} ${marks.text}`;
  const args = ['dist/dev/demo/main.js', '--json', '--model', 'scripted/scripted', '--text', said];
  // The failing one keeps its spans for itself and shows them.
  const { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: _elsewhere, ...shown } = environment();
  const env = what === 'fail' ? shown : environment();
  const child = spawn(process.execPath, args, {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  put('demo JSON', out);
  put('demo screen', err);
  expect([code, out.trim().split('\n').length]).toEqual([what === 'fail' ? 1 : 0, 1]);
}

it('every place was looked at, and holds what it is for', () => {
  expect(places['demo JSON']).toContain('"status":"error"');
  expect(places['demo screen']).toContain('turn.process');
  expect(places['chat pages']).toContain('EventSource');
  expect(places['chat API']).toContain('"error"');
  expect(places['chat events']).toContain('"type":"finished","status":"completed"');
  expect(places['chat events']).toContain('"type":"finished","status":"error"');
  expect(places['board pages']).toContain('<html');
  expect(places['board API']).toContain('ended as an error: upstream_error');
  expect(places['board log']).toContain('board.sign-in');
  expect(places.spans).toContain('turn.process');
});

it.each(names)('%s is where it may be, and nowhere else', (name) => {
  const value = marks[name] ?? '';
  expect(value.length).toBeGreaterThan(5);
  const encoded = [`opencode:${value}`, `${user}:${value}`].map((pair) =>
    Buffer.from(pair).toString('base64'),
  );
  const found = Object.keys(places).filter((place) =>
    [value, encodeURIComponent(value), ...encoded].some((form) => (places[place] ?? '').includes(form)),
  );
  expect(found.sort()).toEqual([...(rows[name] ?? [])].sort());
});
