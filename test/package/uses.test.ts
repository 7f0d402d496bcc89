import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { build } from 'esbuild';
import { startMongo } from '../../dev/services/mongo.ts';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { freePort } from '../../dev/services/supervised.ts';
import { root } from '../house/sources.ts';
import { withDatabase } from '../support/database.ts';
import { installOutside, type Outside } from './outside.ts';

let outside: Outside;
let redis: Service;
let mongo: Service;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  outside = installOutside();
  [redis, mongo] = await Promise.all([startRedis(() => undefined), startMongo()]);
  env = {
    REDIS: redis.url,
    MONGO: withDatabase(mongo.url, `test_${path.basename(outside.directory).slice(-6)}`),
    CLOSED: `redis://127.0.0.1:${await freePort()}`,
  };
});
afterAll(async () => {
  await Promise.all([redis?.stop(), mongo?.stop()]);
  outside?.remove();
});

/** What a web app does, on real services; a question that goes wrong throws. The same words however it is loaded. */
const use = `
async function use({ connect, isTurnsError, InvalidConfigError }, { emptyView, applyEntry, ToolDisplay }, { eventStream }) {
  const options = {
    redis: process.env.REDIS, mongo: process.env.MONGO, opencode: { url: 'http://127.0.0.1:9' }, sandboxRoot: '/tmp',
    prefix: 'outside-' + process.pid, reporter: { report() {} },
  };
  const refused = async (more) => {
    const error = await connect({ ...options, ...more }).then(() => undefined, (error) => error);
    return isTurnsError(error) ? error.name + ' ' + error.code : String(error);
  };
  const said = [await refused({ prefix: 7 }), await refused({ redis: process.env.CLOSED, connectTimeoutMs: 300 })];
  const turns = await connect(options);
  try {
    const conversation = await turns.models.Conversation.create({});
    const turn = await turns.enqueue({ conversation, text: 'hello' });
    const again = await turns.get(turn.id);
    said.push(again.status, typeof eventStream, typeof ToolDisplay, typeof applyEntry(emptyView, { type: 'progress', progress: 'queued' }));
    said.push(await turns.cancel(turn.id));
  } finally {
    await turns.close();
  }
  return said;
}`;
const said = [
  'InvalidConfigError invalid_config',
  'ServiceUnavailableError service_unavailable',
  'pending',
  'function',
  'function',
  'object',
  'cancelled',
];

const names = ['opencode-turns', 'opencode-turns/view', 'opencode-turns/web'];
const imports = names.map((name) => `await import('${name}')`).join(', ');
const requires = names.map((name) => `require('${name}')`).join(', ');
const telling = 'process.stdout.write(JSON.stringify(said))';

describe('a web app with nothing optional', () => {
  it('as a module', async () => {
    const file = outside.write('use.mjs', `${use}\nconst said = await use(${imports});\n${telling}`);
    expect(JSON.parse(await outside.node([file], env))).toEqual(said);
  });

  it('in CommonJS', async () => {
    const file = outside.write('use.cjs', `${use}\nuse(${requires}).then((said) => ${telling});`);
    expect(JSON.parse(await outside.node([file], env))).toEqual(said);
  });

  const jest = path.join(root, 'node_modules/jest/bin/jest.js');
  const jestTest = (values: string) =>
    `${use}\ntest('uses it', async () => { expect(await use(${values})).toEqual(${JSON.stringify(said)}); }, 30000);`;

  it("under Jest's default mode", async () => {
    outside.write('default.test.js', jestTest(requires));
    await outside.node([jest, '--rootDir', outside.directory, 'default.test.js'], env);
  });

  it("under Jest's mode of modules", async () => {
    outside.write('modules.test.mjs', jestTest(imports));
    const matching = ['--testMatch', '**/*.test.mjs'];
    const args = ['--experimental-vm-modules', jest, '--rootDir', outside.directory, ...matching];
    await outside.node(args, env);
  });
});

it('the view is bundled for browsers without a warning, a package or Node', async () => {
  const file = outside.write(
    'browser.js',
    "import { applyEntry, emptyView, ToolDisplay } from 'opencode-turns/view';\nglobalThis.view = { applyEntry, emptyView, ToolDisplay };",
  );
  const { warnings, metafile } = await build({
    entryPoints: [file],
    bundle: true,
    platform: 'browser',
    format: 'iife',
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  expect(warnings).toEqual([]);
  expect(
    Object.keys(metafile.inputs)
      .map((input) => path.basename(input))
      .sort(),
  ).toEqual(['browser.js', 'view.js']);
  expect(
    Object.values(metafile.inputs).flatMap((input) => input.imports.filter((one) => one.external)),
  ).toEqual([]);
});
