import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { root } from '../house/sources.ts';
import { installOutside, type Outside, pack } from './outside.ts';

let outside: Outside;
let tarball: string;
let directory: string;
beforeAll(() => {
  outside = installOutside('@types/node');
  directory = mkdtempSync(path.join(tmpdir(), 'opencode-turns-tarball-'));
  tarball = pack(directory);
});
afterAll(() => {
  outside?.remove();
  rmSync(directory, { recursive: true, force: true });
});

/** What it prints; with it as the message when it exits other than with 0. */
const tool = async (file: string, ...args: readonly string[]) => {
  const options = { cwd: outside.directory };
  return promisify(execFile)(
    process.execPath,
    [path.join(root, 'node_modules', file), ...args],
    options,
  ).then(
    ({ stdout }) => stdout,
    ({ stdout, stderr }) => {
      throw new Error(`${stdout}${stderr}`);
    },
  );
};

it('publint finds nothing', async () => {
  const said = await tool('publint/src/cli.js', tarball, '--strict');
  expect(said).toContain('All good!');
});

it('every subpath has its types, as a module, by require and for bundlers', async () => {
  const args = ['--profile', 'node16', '--format', 'json'];
  const said = await tool('@arethetypeswrong/cli/dist/index.js', tarball, ...args);
  const { problems, analysis } = JSON.parse(said) as {
    problems?: Readonly<Record<string, readonly { readonly resolutionKind?: string }[]>>;
    analysis: { readonly entrypoints: object };
  };
  const asked = Object.values(problems ?? {})
    .flat()
    .filter(({ resolutionKind }) => resolutionKind !== 'node10');
  expect(asked).toEqual([]);
  expect(Object.keys(analysis.entrypoints)).toEqual(
    expect.arrayContaining(['.', './view', './web', './otel', './board', './testing']),
  );
});

const typed = `
  const follow = async (options: TurnsOptions): Promise<string> => {
    const turns = await connect(options);
    for await (const entry of turns.follow('0')) view = applyEntry(view, entry);
    try {
      return (await turns.get('0'))?.id ?? view.status;
    } catch (error) {
      return isTurnsError(error) ? error.code : 'unknown';
    }
  };
  let view: TurnView = emptyView;
  const response: Response = eventStream;
  export { follow, response };`;

it.each(['mts', 'cts'])('a program in TypeScript is checked with the types given, .%s', async (extension) => {
  const file = outside.write(
    `program.${extension}`,
    `import { connect, isTurnsError, type TurnsOptions } from 'opencode-turns';
     import { applyEntry, emptyView, type TurnView } from 'opencode-turns/view';
     import { eventStream } from 'opencode-turns/web';${typed}`,
  );
  // Without skipLibCheck: our declarations need the types of nothing optional.
  const args = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node'];
  const wrong = tool('typescript/bin/tsc', ...args, file);
  // The one mistake that is in it, so that the types are none that fit everything.
  await expect(wrong).rejects.toThrow(/^program\.\w+\(\d+,\d+\): error TS2(322|739|740|741)[^\n]*'Response'/);
  await expect(wrong).rejects.not.toThrow(/error TS[\s\S]*error TS/);
});
