/**
 * The public types as one text, so that a change of the surface is seen in review: `npm run api` writes it to etc/api.md.
 * Made from the declarations that the compiler emits: per subpath its names, then each declaration that one of them
 * reaches, without comments.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
export const reportFile = path.join(root, 'etc/api.md');

export function apiReport() {
  const emitted = mkdtempSync(path.join(tmpdir(), 'opencode-turns-api-'));
  try {
    const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
    const options = [
      '-p',
      'tsconfig.build.json',
      '--emitDeclarationOnly',
      '--removeComments',
      '--noCheck',
      '--outDir',
      emitted,
    ];
    execFileSync(process.execPath, [tsc, ...options], { cwd: root });
    return report((file) => readFileSync(path.join(emitted, file.replace(/\.ts$/, '.d.ts')), 'utf8'));
  } finally {
    rmSync(emitted, { recursive: true, force: true });
  }
}

/** @param {(file: string) => string} read */
function report(read) {
  const { exports } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const modules = new Map();
  const moduleOf = (file) => {
    if (!modules.has(file)) modules.set(file, parse(file, read(file)));
    return modules.get(file);
  };
  const reached = new Map();
  const reach = (file, name) => {
    const found = find(moduleOf, file, name);
    if (found === undefined || reached.get(found.file)?.has(found.name)) return;
    reached.set(found.file, (reached.get(found.file) ?? new Set()).add(found.name));
    for (const [used] of moduleOf(found.file)
      .declared.get(found.name)
      .matchAll(/[A-Za-z_$][\w$]*/g))
      reach(found.file, used);
  };
  const lines = ['# Public types', '', 'Made by `npm run api`.', ''];
  for (const [subpath, { import: entry }] of Object.entries(exports)) {
    if (entry === undefined) continue;
    const file = path.posix.normalize(entry.types.replace('dist/', '').replace('.d.ts', '.ts'));
    const names = [...namesOf(moduleOf, file)].sort();
    lines.push(
      `## ${path.posix.join('opencode-turns', subpath)}`,
      '',
      ...names.map((name) => `- \`${name}\``),
      '',
    );
    for (const name of names) reach(file, name);
  }
  for (const file of [...reached.keys()].sort()) {
    const { declared } = moduleOf(file);
    const texts = [...declared].filter(([name]) => reached.get(file).has(name)).map(([, text]) => text);
    lines.push(`## ${file}`, '', '```ts', ...texts, '```', '');
  }
  return lines.join('\n');
}

/** Where a name that a module uses or exports is declared. */
function find(moduleOf, file, name) {
  const { declared, renamed, all } = moduleOf(file);
  if (declared.has(name)) return { file, name };
  if (renamed.has(name)) return find(moduleOf, renamed.get(name).file, renamed.get(name).name);
  for (const one of all) {
    const found = find(moduleOf, one, name);
    if (found !== undefined) return found;
  }
  return undefined;
}

function namesOf(moduleOf, file) {
  const { exported, all } = moduleOf(file);
  return new Set([...exported, ...all.flatMap((one) => [...namesOf(moduleOf, one)])]);
}

/** The compiler begins each statement at the left margin with a keyword, and indents what belongs to it. */
function parse(file, text) {
  const declared = new Map();
  const renamed = new Map();
  const exported = new Set();
  const all = [];
  const fileOf = (specifier) => path.posix.join(path.posix.dirname(file), specifier);
  for (const statement of text
    .split(/^(?=(?:export|import|declare|interface|type) )/m)
    .map((one) => one.trimEnd())) {
    const [, keyword, listed, every, from] =
      /^(import|export) (?:type )?(?:\{([^}]*)\}|(\*))(?: from '(\.[^']+)')?/.exec(statement) ?? [];
    // A namespace of somebody else's names, for types that are made of them.
    if (every && keyword === 'import') continue;
    if (every) all.push(fileOf(from));
    else if (listed !== undefined)
      for (const [, name, alias = name] of listed.matchAll(
        /(?:type )?([\w$]+)(?: as ([\w$]+))?(?:,|\s*$)/g,
      )) {
        if (keyword === 'export') exported.add(alias);
        if (from) renamed.set(alias, { file: fileOf(from), name });
      }
    else {
      const [, name] =
        /^(?:export )?(?:declare )?(?:abstract )?(?:class|function|const|interface|type|enum) ([\w$]+)/.exec(
          statement,
        ) ?? [];
      if (name === undefined) continue;
      declared.set(name, declared.has(name) ? `${declared.get(name)}\n${statement}` : statement);
      if (statement.startsWith('export ')) exported.add(name);
    }
  }
  return { declared, renamed, exported, all };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(reportFile, apiReport());
