import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { build } from 'esbuild';
import { root } from '../house/sources.ts';
import { installOutside, type Outside } from './outside.ts';

let outside: Outside;
beforeAll(() => {
  outside = installOutside();
});
afterAll(() => outside?.remove());

/** A turn in the tests of somebody else. The same words however it is loaded. */
const use = `
async function use({ testTurns, scriptedUpstream, waitForTurn }) {
  const { turns, conversation, close } = await testTurns({ policies: { default: {} }, upstream: scriptedUpstream('Paris.') });
  const { id } = await turns.enqueue({ conversation: conversation(), text: 'The capital of France?' });
  const turn = await waitForTurn(turns, id);
  await close();
  return [turn.status, turn.text];
}`;
const said = ['completed', 'Paris.'];
const telling = 'process.stdout.write(JSON.stringify(said))';
const imported = "await import('opencode-turns/testing')";
const required = "require('opencode-turns/testing')";
/** What connects to something, or is only needed by who does. */
const vendors =
  /\/node_modules\/(bullmq|ioredis|redlock|mongoose|mongodb|undici|@opencode-ai|@opentelemetry)\//;

describe('opencode-turns/testing', () => {
  it('as a module', async () => {
    const file = outside.write('use.mjs', `${use}\nconst said = await use(${imported});\n${telling}`);
    expect(JSON.parse(await outside.node([file]))).toEqual(said);
  });

  it('in CommonJS, where it loads no vendor', async () => {
    const loaded = `Object.keys(require.cache).filter((file) => ${vendors}.test(file))`;
    const script = `${use}\nuse(${required}).then((turn) => { const said = [...turn, ${loaded}]; ${telling}; });`;
    expect(JSON.parse(await outside.node([outside.write('use.cjs', script)]))).toEqual([...said, []]);
  });

  const jest = path.join(root, 'node_modules/jest/bin/jest.js');
  const jestTest = (value: string) =>
    `${use}\ntest('uses it', async () => { expect(await use(${value})).toEqual(${JSON.stringify(said)}); });`;

  it("under Jest's default mode", async () => {
    outside.write('default.test.js', jestTest(required));
    await outside.node([jest, '--rootDir', outside.directory, 'default.test.js']);
  });

  it("under Jest's mode of modules", async () => {
    outside.write('modules.test.mjs', jestTest(imported));
    const matching = ['--testMatch', '**/*.test.mjs'];
    await outside.node(['--experimental-vm-modules', jest, '--rootDir', outside.directory, ...matching]);
  });

  it('imports as a module nothing but what checks and names', async () => {
    const { metafile } = await build({
      entryPoints: [path.join(outside.library, 'dist/src/testing/index.js')],
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
      write: false,
      metafile: true,
      logLevel: 'silent',
    });
    const packages = Object.values(metafile.outputs)
      .flatMap(({ imports }) => imports.map((each) => each.path))
      .filter((name) => !name.startsWith('node:'));
    expect([...new Set(packages)].sort()).toEqual(['mrmime', 'zod']);
  });
});
