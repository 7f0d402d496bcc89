import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { projectFiles, root } from '../house/sources.ts';
import { diskUsage, installOutside, type Outside } from './outside.ts';

const maxPackages = 60;
const maxMegabytes = 45;

let outside: Outside;
beforeAll(() => {
  outside = installOutside();
});
afterAll(() => outside.remove());

describe('a plain install', () => {
  it(`brings at most ${maxPackages} packages and ${maxMegabytes} MB`, () => {
    const megabytes = diskUsage(`${outside.directory}/node_modules`) / 1e6;
    process.stdout.write(`${outside.packages.length} packages, ${megabytes.toFixed(1)} MB on disk\n`);
    expect(outside.packages).toContain('node_modules/mongoose');
    expect(outside.packages).toContain('node_modules/bullmq');
    expect(outside.packages.filter((name) => /opentelemetry|hono|bull-board/.test(name))).toEqual([]);
    expect(outside.packages.length).toBeLessThanOrEqual(maxPackages);
    expect(megabytes).toBeLessThanOrEqual(maxMegabytes);
  });

  it('holds no source, no map, no test and nothing of development', () => {
    const files = filesIn(outside.library);
    expect(files).toContain('dist/src/index.js');
    const allowed =
      /^(dist\/(src|cjs|workers)\/.+(\.d\.ts|\.js|\.cjs)|dist\/cjs\/package\.json|dist\/view\.js|docs\/.+\.(md|svg)|[A-Z]+\.md|LICENSE|Procfile|package\.json)$/;
    expect(files.filter((file) => !allowed.test(file) || /\.test\.|\/(dev|test|bench)\//.test(file))).toEqual(
      [],
    );
  });

  it('is packed whole from a fresh checkout, which has nothing built', () => {
    const checkout = mkdtempSync(path.join(tmpdir(), 'opencode-turns-checkout-'));
    try {
      for (const file of projectFiles()) cpSync(path.join(root, file), path.join(checkout, file));
      symlinkSync(path.join(root, 'node_modules'), path.join(checkout, 'node_modules'));
      expect(readdirSync(checkout)).not.toContain('dist');
      execFileSync('npm', ['pack', '--silent', '--pack-destination', checkout], { cwd: checkout });
      const [tarball = ''] = readdirSync(checkout).filter((file) => file.endsWith('.tgz'));
      const listed = execFileSync('tar', ['-tzf', path.join(checkout, tarball)], { encoding: 'utf8' });
      const packed = listed
        .trim()
        .split('\n')
        .map((file) => file.replace('package/', ''));
      expect(packed.sort()).toEqual(filesIn(outside.library).sort());
    } finally {
      rmSync(checkout, { recursive: true, force: true });
    }
  });
});

const filesIn = (directory: string) =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => path.relative(directory, path.join(parentPath, name)));

describe('what an import loads', () => {
  // Node tells a loader hook of each file that it loads as a module or for one.
  const hook = `
    import { appendFileSync } from 'node:fs';
    export async function load(url, context, next) {
      appendFileSync(process.env.LOADED, url + '\\n');
      return next(url, context);
    }`;
  const register = `
    import { register } from 'node:module';
    register('./hook.mjs', import.meta.url);`;
  const script = `
    import { readFileSync } from 'node:fs';
    import { createRequire } from 'node:module';
    const { connect } = await import('opencode-turns');
    const loaded = () => [
      ...readFileSync(process.env.LOADED, 'utf8').split('\\n'),
      ...Object.keys(createRequire(import.meta.url).cache),
    ].map((file) => /.*node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(file)?.[1]).filter(Boolean);
    const before = [...new Set(loaded())].sort();
    await connect({}).catch(() => undefined);
    console.log(JSON.stringify({ before, after: [...new Set(loaded())] }));`;

  it('is our own code and zod; connect loads the vendors', async () => {
    outside.write('hook.mjs', hook);
    outside.write('register.mjs', register);
    const args = ['--import', './register.mjs', outside.write('imports.mjs', script)];
    const { before, after } = JSON.parse(
      await outside.node(args, { LOADED: outside.write('loaded.txt', '') }),
    ) as Record<'before' | 'after', string[]>;
    expect(before).toEqual(['opencode-turns', 'zod']);
    expect(after).toEqual(expect.arrayContaining(['mongoose', 'bullmq', 'ioredis']));
    expect(after).not.toContain('undici');
  });

  it('is the same by require', async () => {
    const script = `
      const loaded = () => [...new Set(Object.keys(require.cache)
        .map((file) => /.*node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(file)?.[1]).filter(Boolean))].sort();
      const { connect } = require('opencode-turns');
      const before = loaded();
      connect({}).catch(() => console.log(JSON.stringify({ before, after: loaded() })));`;
    const { before, after } = JSON.parse(
      await outside.node([outside.write('requires.cjs', script)]),
    ) as Record<'before' | 'after', string[]>;
    expect(before).toEqual(['opencode-turns', 'zod']);
    expect(after).toEqual(expect.arrayContaining(['mongoose', 'bullmq', 'ioredis']));
    expect(after).not.toContain('undici');
  });
});
