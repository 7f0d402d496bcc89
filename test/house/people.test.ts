import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { root } from './sources.ts';

const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const { engines, scripts } = JSON.parse(read('package.json')) as {
  engines: { node: string };
  scripts: Record<string, string>;
};

interface Workflow {
  readonly jobs: Record<
    string,
    { strategy: { matrix: { node: string[] } }; steps: { run?: string; uses?: string }[] }
  >;
}

it('the workflow runs what continuous integration is, from the lowest Node that package.json admits on', () => {
  const { jobs } = parse(read('.github/workflows/ci.yml')) as Workflow;
  const { strategy, steps } = jobs.test as Workflow['jobs'][string];
  expect(engines.node).toBe(`>=${strategy.matrix.node[0]}`);
  expect(strategy.matrix.node.slice(1)).toEqual(['22', '24']);
  expect(steps.flatMap(({ run }) => run ?? [])).toEqual(['.ci/run']);
  expect(existsSync(path.join(root, '.ci/run'))).toBe(true);
});

it('editors format as the linter does', () => {
  const { formatter } = JSON.parse(read('biome.json')) as {
    formatter: { indentStyle: string; indentWidth: number; lineWidth: number };
  };
  const editor = Object.fromEntries(
    [...read('.editorconfig').matchAll(/^(\w+) = (\w+)$/gm)]
      .toReversed()
      .map(([, key, value]) => [key, value]),
  );
  expect(editor).toMatchObject({
    indent_style: formatter.indentStyle,
    indent_size: String(formatter.indentWidth),
    max_line_length: String(formatter.lineWidth),
  });
});

it('every command that CONTRIBUTING.md names exists', () => {
  const named = [...read('CONTRIBUTING.md').matchAll(/npm run (?:-s )?([\w:]+)/g)].map(
    ([, name]) => name ?? '',
  );
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});
