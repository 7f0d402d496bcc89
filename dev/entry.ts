import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/**
 * Starts a module of this project as a process of its own: with tsx while the sources run themselves (tests,
 * benches), as plain Node from the build. `relative` names the module without its ending, seen from `base`.
 */
export function spawnEntry(
  base: string,
  relative: string,
  args: readonly string[],
  options: SpawnOptions & { nodeArgs?: readonly string[] } = {},
): ChildProcess {
  const fromSource = base.endsWith('.ts');
  const file = fileURLToPath(new URL(`${relative}${fromSource ? '.ts' : '.js'}`, base));
  const { nodeArgs = [], ...rest } = options;
  return spawn(process.execPath, [...(fromSource ? ['--import', 'tsx'] : []), ...nodeArgs, file, ...args], {
    env: process.env,
    ...rest,
  });
}
