import { describe, expect, it } from '@jest/globals';
import { type Import, importsOf, projectFiles } from './sources.ts';

const ground = ['errors', 'errors.ts', 'timing', 'instrumentation', 'checking'];
const data = [...ground, 'reply', 'artifacts', 'bounds', 'turn'];

/**
 * Which rooms of src a room may import, from the ground up. Files directly in src stand under their own name. What is not
 * here (the entry and the composition root) may know all of it.
 */
const mayImport: Record<string, readonly string[]> = {
  errors: [],
  'errors.ts': ['errors'],
  timing: [],
  checking: ['errors.ts'],
  instrumentation: [],
  'closers.ts': [],
  reply: ground,
  artifacts: [...ground, 'reply'],
  bounds: ['reply'],
  turn: [...ground, 'reply', 'artifacts'],
  ports: data,
  live: [...data, 'ports'],
  session: [...data, 'ports'],
  run: [...data, 'ports', 'live'],
  stop: [...data, 'ports', 'session', 'run'],
  watch: [...data, 'ports', 'run', 'stop'],
  submit: [...data, 'ports', 'session', 'run', 'stop', 'watch'],
  finish: [...data, 'ports', 'run', 'watch'],
  worker: [...data, 'ports', 'run', 'stop', 'watch', 'submit', 'finish'],
  client: [...data, 'ports', 'live'],
  conversation: [...data, 'ports', 'session', 'client'],
  sweeper: [...data, 'ports', 'session'],
  redis: [...data, 'ports', 'config/redis-address.ts'],
  bullmq: [...data, 'ports', 'redis', 'worker'],
  mongodb: [...data, 'ports'],
  opencode: [...data, 'ports'],
  otel: ground,
  config: [...ground, 'turn', 'worker', 'mongodb/collection-names.ts'],
  'turns.ts': [
    ...ground,
    'config',
    'turn',
    'ports',
    'live',
    'session',
    'client',
    'conversation',
    'worker',
    'mongodb',
    'closers.ts',
  ],
  testing: [
    ...data,
    ...['ports', 'live', 'session', 'run', 'worker', 'client', 'config', 'turns.ts', 'closers.ts'],
    ...['ids', 'decode', 'server', 'upstream'].map((file) => `opencode/v1/${file}.ts`),
  ],
  web: ['errors.ts', 'checking', 'turn', 'artifacts', 'config/web-settings.ts'],
  'view.ts': ['reply', 'turn'],
  'connect.ts': ['config', 'turn', 'turns.ts', 'compose.ts'],
  operate: [...ground, 'config/board-settings.ts'],
};

/** What puts everything together. */
const roots = ['compose.ts', 'compose-servers.ts', 'compose-worker.ts', 'shared.ts'];

/** The only rooms that may know a vendor. */
const vendors: Record<string, readonly string[]> = {
  bullmq: ['bullmq', 'operate'],
  ioredis: ['redis', 'bullmq', ...roots],
  redlock: ['redis'],
  mongoose: ['mongodb', 'config', 'turns.ts', ...roots],
  undici: ['opencode'],
  '@opencode-ai/sdk': ['opencode'],
  'eventsource-parser': ['opencode'],
  zod: ['bullmq', 'client', 'opencode', 'checking', 'config', 'turn', 'artifacts'],
  mrmime: ['artifacts', 'turn'],
  'content-disposition': ['artifacts'],
  hono: ['operate'],
};
const vendorOf = (name: string) =>
  name.startsWith('@opentelemetry/')
    ? ['otel']
    : name.startsWith('@bull-board/') || name.startsWith('@hono/')
      ? ['operate']
      : (vendors[name] ?? []);

const sources = projectFiles().filter((file) => /^src\/.*\.ts$/.test(file) && !file.endsWith('.d.ts'));
const imports = sources.flatMap(importsOf);
const placeOf = (file: string) => file.split('/')[1] ?? '';
const show = ({ from, to }: Import) => `${from} → ${to}`;

describe('layering', () => {
  it('every folder imports only what stands below it', () => {
    const wrong = imports.filter(({ from, to, isPackage }) => {
      const allowed = mayImport[placeOf(from)];
      if (isPackage || !allowed || placeOf(from) === placeOf(to)) return false;
      return !allowed.some((place) => placeOf(to) === place || to === `src/${place}`);
    });
    expect(wrong.map(show)).toEqual([]);
  });

  it('every folder has its row', () => {
    const free = new Set(['index.ts', ...roots]);
    const places = new Set(sources.map(placeOf));
    expect([...places].filter((place) => !free.has(place) && !(place in mayImport))).toEqual([]);
  });

  it('vendors are known in their own folder only', () => {
    const wrong = imports.filter(
      ({ from, to, isPackage }) =>
        isPackage && !to.startsWith('node:') && !vendorOf(to).includes(placeOf(from)),
    );
    expect(wrong.map(show)).toEqual([]);
  });

  it('the library never reaches the development services, nor what is for tests', () => {
    const reached = reach('src/index.ts');
    expect([...reached].filter((file) => /^(dev|src\/testing)\//.test(file))).toEqual([]);
    expect(reached.size).toBeGreaterThan(40);
  });

  it('there are no import cycles, not even of types', () => {
    expect(cycles()).toEqual([]);
  });
});

function reach(start: string, seen = new Set<string>()): Set<string> {
  if (seen.has(start)) return seen;
  seen.add(start);
  for (const { from, to, isPackage } of imports) if (from === start && !isPackage) reach(to, seen);
  return seen;
}

function cycles(): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]) => {
    const at = path.indexOf(file);
    if (at >= 0) found.push([...path.slice(at), file].join(' → '));
    if (at >= 0 || done.has(file)) return;
    for (const { from, to, isPackage } of imports)
      if (from === file && !isPackage) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of sources) visit(file, []);
  return found;
}
