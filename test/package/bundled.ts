import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import type { Outside } from './outside.ts';

/** In pieces, so that what is imported when it is needed stays so; the vendors are CommonJS and look for `require`. */
const modules = {
  format: 'esm',
  splitting: true,
  outExtension: { '.js': '.mjs' },
  banner: {
    js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
  },
} as const;
const commonJs = { format: 'cjs', outExtension: { '.js': '.cjs' } } as const;

/**
 * Bundles a script for a server as docs/packages.md says, and runs it where there is no node_modules at all. What it prints; rejects when esbuild has a warning.
 */
export async function runBundled(
  outside: Outside,
  file: string,
  output: 'esm' | 'cjs',
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const outdir = mkdtempSync(path.join(tmpdir(), 'opencode-turns-bundle-'));
  try {
    const { warnings } = await build({
      entryPoints: [file],
      outdir,
      bundle: true,
      platform: 'node',
      external: ['@opentelemetry/*'],
      logLevel: 'silent',
      ...(output === 'esm' ? modules : commonJs),
    });
    if (warnings.length > 0) throw new Error(warnings.map(({ text }) => text).join('\n'));
    const { name } = path.parse(file);
    return await outside.node([path.join(outdir, name + (output === 'esm' ? '.mjs' : '.cjs'))], env);
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}
