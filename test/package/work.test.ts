import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { root } from '../house/sources.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { runBundled } from './bundled.ts';
import { installOutside, type Outside } from './outside.ts';

let outside: Outside;
let system: TestSystem;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  outside = installOutside();
  system = await startSystem();
  system.respond(() => ({ text: ['hello ', 'from upstream'] }));
  env = {
    OPTIONS: JSON.stringify({ ...system.options, reporter: undefined }),
    DIRECTORY: system.policy.directory(),
  };
});
afterAll(async () => {
  await system?.stop();
  outside?.remove();
});

/** A turn from the request to its end, by a worker in the same process. */
const work = `
async function work({ connect }) {
  const turns = await connect({ ...JSON.parse(process.env.OPTIONS), reporter: { report() {} } });
  try {
    await turns.createIndexes();
    await turns.work({ policies: { default: { model: 'scripted/scripted', directory: () => process.env.DIRECTORY } } });
    const conversation = await turns.models.Conversation.create({});
    const { id } = await turns.enqueue({ conversation, text: 'hello' });
    for await (const entry of turns.follow(id)) if (entry.type === 'finished') return [entry.status, entry.text];
  } finally {
    await turns.close();
  }
}`;
const said = ['completed', 'hello from upstream'];
const telling = 'process.stdout.write(JSON.stringify(said))';
const asModule = `${work}\nconst said = await work(await import('opencode-turns'));\n${telling};`;
const inCommonJs = `${work}\nwork(require('opencode-turns')).then((said) => ${telling});`;

/** Some vendors are of modules only, or give `require` something else than `import`: only a whole turn meets all of them. */
describe('a worker with nothing optional', () => {
  it('as a module', async () => {
    expect(JSON.parse(await outside.node([outside.write('work.mjs', asModule)], env))).toEqual(said);
  });

  it('in CommonJS', async () => {
    expect(JSON.parse(await outside.node([outside.write('work.cjs', inCommonJs)], env))).toEqual(said);
  });

  it("under Jest's default mode", async () => {
    outside.write(
      'work.test.js',
      `${work}
       test('works', async () => { expect(await work(require('opencode-turns'))).toEqual(${JSON.stringify(said)}); }, 40000);`,
    );
    const jest = path.join(root, 'node_modules/jest/bin/jest.js');
    await outside.node([jest, '--rootDir', outside.directory, 'work.test.js'], env);
  });

  const imported = `import * as library from 'opencode-turns';\n${work}\nwork(library).then((said) => ${telling});`;
  it.each([
    ['esm', 'bundled.mjs', asModule],
    ['cjs', 'imported.mjs', imported],
    ['cjs', 'required.cjs', inCommonJs],
  ] as const)('bundled for a server as %s, from %s', async (output, file, script) => {
    const source = outside.write(file, script);
    expect(JSON.parse(await runBundled(outside, source, output, env))).toEqual(said);
  });
});
