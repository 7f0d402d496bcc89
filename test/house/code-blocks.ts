import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './sources.ts';

/** What the blocks of a page use and do not declare themselves: its type by name; and the modules that they import by a path. */
export interface Prelude {
  readonly names?: Readonly<Record<string, string>>;
  readonly types?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
}

export interface Block {
  readonly page: string;
  /** Of its first line of code, from 1 on. */
  readonly line: number;
  readonly language: string;
  readonly code: string;
}

export function blocksOf(page: string, text = readFileSync(path.join(root, page), 'utf8')): Block[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(
    ({ index, 1: language = '', 2: code = '' }) => ({
      page,
      line: text.slice(0, index).split('\n').length + 1,
      language,
      code,
    }),
  );
}

/**
 * What the compiler says of the blocks, against the sources of this library, each as a module of its own. A line number is that
 * of the page. One run for all of them: most of its time is that of the sources.
 */
export function complaintsOf(
  blocks: readonly Block[],
  preludes: Readonly<Record<string, Prelude>>,
): string[] {
  mkdirSync(path.join(root, '.cache'), { recursive: true });
  const directory = mkdtempSync(path.join(root, '.cache/code-blocks-'));
  try {
    const write = (file: string, text: string) => {
      mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
      writeFileSync(path.join(directory, file), text);
    };
    for (const block of blocks) {
      const prelude = preludes[block.page] ?? {};
      write(`${block.page}/${block.line}.mts`, moduleOf(block, prelude));
      for (const [file, text] of Object.entries(prelude.files ?? {})) write(`${block.page}/${file}`, text);
    }
    write('tsconfig.json', JSON.stringify(settings));
    return compiled(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The prelude is the first line, so that each line of the block is the same one as on its page. */
function moduleOf({ code, line }: Block, { names = {}, types = {} }: Prelude): string {
  const declared = Object.entries(names).filter(([name]) => !declares(code, name));
  const prelude = [
    ...Object.entries(types).map(([name, type]) => `type ${name} = ${type};`),
    ...declared.map(([name, type]) => `declare const ${name}: ${type};`),
  ];
  return `export {}; ${prelude.join(' ')}${'\n'.repeat(line - 1)}${code}`;
}

const declares = (code: string, name: string) =>
  new RegExp(`(const|let|using|function|class) ${name}\\b|import [^;]*\\b${name}\\b[^;]* from`).test(code);

const to = (file: string) => [path.join(root, file)];
const settings = {
  extends: path.join(root, 'tsconfig.json'),
  compilerOptions: {
    rootDir: root,
    noUnusedLocals: false,
    noUnusedParameters: false,
    paths: {
      'opencode-turns': to('src/index.ts'),
      'opencode-turns/view': to('src/view.ts'),
      'opencode-turns/web': to('src/web/index.ts'),
      'opencode-turns/otel': to('src/otel/index.ts'),
      'opencode-turns/board': to('src/operate/index.ts'),
      'opencode-turns/testing': to('src/testing/index.ts'),
    },
  },
  include: ['.', path.join(root, 'src/**/*.d.ts')],
};

function compiled(directory: string): string[] {
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  try {
    execFileSync(process.execPath, [tsc, '-p', '.', '--pretty', 'false'], {
      cwd: directory,
      encoding: 'utf8',
    });
    return [];
  } catch (error) {
    const { stdout } = error as { stdout?: string };
    if (!stdout) throw error;
    return stdout.trim().split('\n');
  }
}
