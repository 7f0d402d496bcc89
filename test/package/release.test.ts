import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from '@jest/globals';
import { root } from '../house/sources.ts';

const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const json = (file: string) => JSON.parse(read(file)) as Readonly<Record<string, unknown>>;

/** What `npm publish` would send, without the build in front of it and without a registry. */
function dryRun(): { name: string; version: string; files: readonly { path: string; size: number }[] } {
  const listed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return JSON.parse(listed)[0];
}

it('a release, dry: one version everywhere, which the changelog knows, with licence, types and changelog in it', () => {
  const { version } = json('package.json') as { version: string };
  const release = dryRun();
  expect(release).toMatchObject({ name: 'opencode-turns', version });
  const files = release.files.map((file) => file.path);
  expect(files).toEqual(
    expect.arrayContaining(['LICENSE', 'README.md', 'CHANGELOG.md', 'SECURITY.md', 'dist/src/index.d.ts']),
  );
  expect(files.filter((file) => /(^|\/)(test|dev|bench|node_modules)\/|\.(map|tgz|env)$/.test(file))).toEqual(
    [],
  );
  expect(read('CHANGELOG.md')).toMatch(new RegExp(`^## ${version.replaceAll('.', '\\.')} — `, 'm'));
  const lock = json('package-lock.json') as {
    version: string;
    packages: Record<string, { version?: string }>;
  };
  expect([lock.version, lock.packages['']?.version]).toEqual([version, version]);
});

it('the workflow of a release tests what it publishes, with provenance and without a token', () => {
  const workflow = read('.github/workflows/release.yml');
  const steps = [...workflow.matchAll(/- run: (.*)/g)].map(([, command]) => command);
  expect(steps.indexOf('.ci/run')).toBeGreaterThan(-1);
  expect(steps.indexOf('.ci/run')).toBeLessThan(
    steps.findIndex((step) => step?.startsWith('npm publish --provenance')),
  );
  expect(workflow).toContain('id-token: write');
  expect(workflow).not.toMatch(/secrets\./);
});
