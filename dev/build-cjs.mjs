/**
 * The CommonJS build beside the modules: for `require` where modules cannot be required, as under Jest's default mode.
 * One file per subpath; what is imported when it is needed stays so. Bundled is what `require` does not give as `import`
 * does, everything else is required from where the host has it. The types are copied: a `.d.ts` file means a module or
 * not by the `package.json` beside it.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const { exports, dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
/** The client of OpenCode is of modules only; Redlock's class is the module's default export in modules only. */
const bundled = ['@opencode-ai/sdk', 'redlock'];
const external = Object.keys({ ...dependencies, ...peerDependencies }).filter(
  (name) => !bundled.includes(name),
);
const entries = Object.values(exports).filter((entry) => entry.require);
const sourceOf = ({ types }) => types.replace('dist/cjs', 'src').replace('.d.ts', '.ts');

await build({
  entryPoints: Object.fromEntries(
    entries.map(({ require }) => [path.basename(require.default, '.cjs'), sourceOf(require)]),
  ),
  outdir: 'dist/cjs',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  external,
  // Nobody reads a bundle, and its comments weigh as much as a third of it; names stay, for stacks.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  // An error's name is its class's.
  keepNames: true,
  logLevel: 'warning',
});
writeFileSync('dist/cjs/package.json', '{ "type": "commonjs" }\n');

const declarations = new Set(
  entries.map(({ require }) => path.normalize(sourceOf(require)).replace('.ts', '.d.ts')),
);
for (const file of declarations) {
  const from = path.join('dist', file);
  const to = path.join('dist/cjs', path.relative('src', file));
  mkdirSync(path.dirname(to), { recursive: true });
  copyFileSync(from, to);
  for (const [, target] of readFileSync(from, 'utf8').matchAll(/from '(\.[^']+)\.ts'/g))
    declarations.add(path.join(path.dirname(file), `${target}.d.ts`));
}
