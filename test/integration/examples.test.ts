import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { exampleEnvironment } from '../support/example-environment.ts';
import { startSystem, type TestSystem } from '../support/system.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
let system: TestSystem;

beforeAll(async () => {
  system = await startSystem();
  system.respond(({ userText }) => ({ text: ['You said: ', userText] }));
}, 90_000);
afterAll(() => system.stop());

/** As a reader would: the package by its name (the build), the services by the environment. */
async function run(example: string): Promise<string> {
  const env = exampleEnvironment(system, example);
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', `examples/${example}.ts`],
    {
      cwd: root,
      env,
      timeout: 50_000,
    },
  );
  return stdout;
}

it('examples/quickstart.ts prints the answer', async () => {
  expect(await run('quickstart')).toBe('You said: Say hello.\ncompleted\n');
});

it('examples/own-model.ts stores the session on the host model', async () => {
  expect(await run('own-model')).toBe('You said: Plan a day.\nsession stored on the trip: true\n');
});

it('examples/trusted-report.ts attaches the page that the host rendered, and not the one of the agent', async () => {
  system.respond(({ step }) =>
    step === 0
      ? {
          tools: [
            {
              name: 'write',
              input: { filePath: 'report.json', content: '{"title":"A & B","rows":["<b>1</b>",2]}' },
            },
            { name: 'write', input: { filePath: 'report.html', content: '<script>evil()</script>' } },
          ],
        }
      : { text: ['Done.'] },
  );
  const printed = await run('trusted-report');
  expect(printed).toMatch(/^completed\ninline; filename=report\.html\n/);
  expect(printed).not.toContain('evil');
  // The page shows what its example prints.
  expect(readFileSync(new URL('../../docs/artifacts-and-trust.md', import.meta.url), 'utf8')).toContain(
    `\`\`\`text\n${printed}\`\`\``,
  );
});
