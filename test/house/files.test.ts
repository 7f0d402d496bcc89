import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from '@jest/globals';
import { projectFiles, root } from './sources.ts';

const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const lines = (file: string) => read(file).split('\n').length;

it('worker processes hold no logic: under 70 lines each', () => {
  const workers = projectFiles().filter((file) => file.startsWith('workers/'));
  expect(workers.length).toBeGreaterThan(2);
  expect(workers.filter((file) => lines(file) > 70)).toEqual([]);
});

it('no source file is longer than 330 lines', () => {
  const sources = projectFiles().filter((file) => /^(src|workers)\/.*\.ts$/.test(file));
  expect(sources.filter((file) => lines(file) > 330)).toEqual([]);
});

it('no time limit is an AbortSignal.timeout: within an `any` it is lost to the collector (Node 20)', () => {
  const sources = projectFiles().filter((file) =>
    /^(src|workers|dev|bench|examples)\/.*\.m?[jt]s$/.test(file),
  );
  expect(sources.length).toBeGreaterThan(100);
  expect(sources.filter((file) => /AbortSignal\s*\.timeout\s*\(/.test(read(file)))).toEqual([]);
});

it('examples and documents need no cast that silences the compiler', () => {
  const shown = projectFiles().filter((file) => /^(examples|docs)\/.*\.(m?ts|md)$|^README\.md$/.test(file));
  expect(shown.length).toBeGreaterThan(15);
  expect(shown.filter((file) => /\bas (never|any|unknown)\b|@ts-(ignore|nocheck)/.test(read(file)))).toEqual(
    [],
  );
});

it('relative links in documents lead to files', () => {
  const documents = projectFiles().filter((file) => file.endsWith('.md'));
  const broken = documents.flatMap((file) =>
    [...read(file).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)]
      .map(([, link = '']) => path.join(path.dirname(file), link))
      .filter((target) => !existsSync(path.join(root, target)))
      .map((target) => `${file} → ${target}`),
  );
  expect(broken).toEqual([]);
});

it('the Procfile starts processes that exist', () => {
  const files = read('Procfile')
    .trim()
    .split('\n')
    .flatMap((line) => line.match(/dist\/\S+\.js/g) ?? []);
  expect(files.length).toBe(4);
  for (const file of files)
    expect(existsSync(path.join(root, file.replace('dist/', '').replace(/\.js$/, '.ts')))).toBe(true);
});

it('docs/telemetry.md has a row for each span and event', async () => {
  const { spans, events } = await import('../../src/instrumentation/events.ts');
  const [spansAndEvents = ''] = read('docs/telemetry.md').split('\n## Metrics\n');
  const rows = new Map(
    [...spansAndEvents.matchAll(/^\| `([^`]+)` \| (.+?) \|$/gm)].map(([, name = '', text = '']) => [
      name,
      text,
    ]),
  );
  expect(Object.fromEntries(rows)).toEqual({ ...spans, ...events });
});

it('docs/telemetry.md has a row for each metric, as the table in the code has it', async () => {
  const { metrics } = await import('../../src/instrumentation/metrics.ts');
  const [, section = ''] = read('docs/telemetry.md').split('\n## Metrics\n');
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  expect(rows).toEqual(
    Object.entries(metrics).map(([name, { kind, unit, attributes, description }]) => {
      const beside = attributes.map((attribute) => `\`${attribute}\``).join(', ') || '–';
      return `| \`${name}\` | ${kind} | \`${unit}\` | ${beside} | ${description} |`;
    }),
  );
});

it('each metric of the table is told somewhere', async () => {
  const { metrics } = await import('../../src/instrumentation/metrics.ts');
  const sources = projectFiles().filter((file) => /^src\/(?!instrumentation\/metrics).*\.ts$/.test(file));
  const code = sources.map(read).join('\n');
  // The kind of tokens is the end of the name.
  const start = (name: string) => name.replace(/^(gen_ai\.client\.inference\.usage\.).*/, '$1');
  expect(Object.keys(metrics).filter((name) => !code.includes(start(name)))).toEqual([]);
});

it('each span and event of the table is emitted somewhere', async () => {
  const { spans, events } = await import('../../src/instrumentation/events.ts');
  const sources = projectFiles().filter((file) =>
    /^(src|dev|examples)\/(?!instrumentation).*\.ts$/.test(file),
  );
  const code = sources.map(read).join('\n');
  expect(Object.keys({ ...spans, ...events }).filter((name) => !code.includes(`'${name}'`))).toEqual([]);
});

it('the public names are these', async () => {
  const names = Object.keys(await import('../../src/index.ts')).sort();
  expect(names).toEqual(JSON.parse(read('test/house/public-names.json')));
});
