import { describe, expect, it } from '@jest/globals';
import { type Import, importsOf, projectFiles } from './sources.ts';

/** Which folders of src a folder may import. Files directly in src stand under their own name. */
const mayImport: Record<string, readonly string[]> = {
  errors: [],
  'errors.ts': ['errors'],
  timing: [],
  checking: ['errors.ts'],
  instrumentation: [],
  reply: ['errors.ts', 'timing', 'instrumentation'],
  artifacts: ['errors.ts', 'checking', 'timing', 'instrumentation', 'reply'],
  ports: ['instrumentation', 'reply', 'artifacts', 'turn'],
  turn: ['errors.ts', 'checking', 'timing', 'instrumentation', 'reply', 'artifacts', 'ports'],
  live: ['errors.ts', 'timing', 'turn', 'ports'],
  client: ['errors.ts', 'instrumentation', 'artifacts', 'turn', 'ports', 'live'],
  opencode: ['errors.ts', 'timing', 'instrumentation', 'reply', 'turn', 'ports'],
  queue: ['errors.ts', 'checking', 'timing', 'instrumentation', 'turn', 'ports'],
  store: [
    'errors.ts',
    'timing',
    'instrumentation',
    'reply',
    'turn',
    'artifacts',
    'ports',
    'options-check.ts',
  ],
  web: ['errors.ts', 'turn'],
  telemetry: ['errors.ts', 'instrumentation'],
  board: ['errors.ts', 'instrumentation', 'queue'],
  'config.ts': ['errors.ts', 'checking', 'instrumentation'],
  'closers.ts': [],
  'node-version.ts': [],
  'options-check.ts': ['errors.ts', 'checking', 'config.ts', 'turns.ts'],
  'turns.ts': ['errors.ts', 'closers.ts', 'client', 'live', 'queue', 'store', 'ports', 'turn'],
};

/** The only folders that may know a vendor. */
const vendors: Record<string, readonly string[]> = {
  bullmq: ['queue', 'board'],
  ioredis: ['queue', 'dev'],
  redlock: ['queue'],
  mongoose: ['store', 'config.ts', 'compose.ts', 'turns.ts'],
  bson: ['dev'],
  undici: ['opencode'],
  '@opencode-ai/sdk': ['opencode'],
  'eventsource-parser': ['opencode'],
  zod: ['queue', 'client', 'opencode', 'checking', 'turn', 'artifacts', 'options-check.ts'],
  mrmime: ['artifacts', 'turn'],
  hono: ['board'],
};
const vendorOf = (name: string) =>
  name.startsWith('@opentelemetry/')
    ? ['telemetry']
    : name.startsWith('@bull-board/') || name.startsWith('@hono/')
      ? ['board']
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
    const free = new Set(['index.ts', 'compose.ts', 'dev']);
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

  it('the library never reaches the development services', () => {
    const reached = reach('src/index.ts');
    expect([...reached].filter((file) => file.startsWith('src/dev/'))).toEqual([]);
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
