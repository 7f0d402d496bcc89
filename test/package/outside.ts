import { execFile, execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { root } from '../house/sources.ts';

/** A folder as an outsider has it after `npm install`: the packed library, what it depends on, and nothing else. */
export interface Outside {
  readonly directory: string;
  /** The folder of the library in it. */
  readonly library: string;
  /** Folders in node_modules, the library's included. */
  readonly packages: readonly string[];
  write(file: string, text: string): string;
  /** Runs Node there to its end; what it prints on stdout. Rejects with its stderr when it fails. */
  node(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string>;
  remove(): void;
}

interface Locked {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

const lock = (
  JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, Locked>>;
  }
).packages;

/** Installs the packed library beside the named packages (optional peers), from what is installed here. */
export function installOutside(...also: readonly string[]): Outside {
  const directory = mkdtempSync(path.join(tmpdir(), 'opencode-turns-outside-'));
  const library = path.join(directory, 'node_modules/opencode-turns');
  mkdirSync(library, { recursive: true });
  const tarball = pack(directory);
  execFileSync('tar', ['-xzf', tarball, '-C', library, '--strip-components=1']);
  rmSync(tarball);
  const locations = closure([...neededBy(lock[''] ?? {}), ...also]);
  for (const location of locations) link(path.join(root, location), path.join(directory, location));
  const write = (file: string, text: string) => {
    writeFileSync(path.join(directory, file), text);
    return path.join(directory, file);
  };
  write('package.json', '{ "name": "outsider", "private": true }\n');
  return {
    directory,
    library,
    packages: [...locations, 'node_modules/opencode-turns'].sort(),
    write,
    node: async (args, env = {}) => {
      const { PATH, HOME, TMPDIR } = process.env;
      const { stdout } = await promisify(execFile)(process.execPath, [...args], {
        cwd: directory,
        env: { PATH, HOME, TMPDIR, ...env },
        timeout: 50_000,
      });
      return stdout;
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** Packs what was built; the path of the tarball. */
export function pack(into: string): string {
  if (!existsSync(path.join(root, 'dist/cjs/index.cjs'))) throw new Error('nothing is built: npm run build');
  const args = ['pack', '--ignore-scripts', '--silent', '--pack-destination', into];
  return path.join(into, execFileSync('npm', args, { cwd: root, encoding: 'utf8' }).trim());
}

/** What lies on the disk, in bytes of whole blocks. */
export function diskUsage(directory: string): number {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(path.join(parentPath, name)).blocks * 512, 0);
}

/** Where the lock file has the named packages and all that they need; what is not of this platform is not installed. */
function closure(names: readonly string[]): string[] {
  const found = new Set<string>();
  const visit = (name: string, from: string) => {
    const location = locate(name, from);
    if (location === undefined || found.has(location) || !existsSync(path.join(root, location))) return;
    found.add(location);
    for (const needed of neededBy(lock[location] ?? {})) visit(needed, location);
  };
  for (const name of names) visit(name, '');
  return [...found];
}

/** As npm does without being asked: everything but optional peers. */
function neededBy({
  dependencies,
  optionalDependencies,
  peerDependencies,
  peerDependenciesMeta,
}: Locked): string[] {
  const peers = Object.keys(peerDependencies ?? {}).filter((name) => !peerDependenciesMeta?.[name]?.optional);
  return [...Object.keys({ ...dependencies, ...optionalDependencies }), ...peers];
}

/** Node's own way: the nearest node_modules upwards. */
function locate(name: string, from: string): string | undefined {
  const location = path.posix.join(from, 'node_modules', name);
  if (location in lock) return location;
  if (from === '') return undefined;
  return locate(name, from.slice(0, Math.max(0, from.lastIndexOf('/node_modules/'))));
}

/** Hard links, which cost no space; copies where the temporary directory is on another disk. */
function link(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    if (entry.name === 'node_modules') continue;
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isDirectory()) link(source, target);
    else linkOrCopy(source, target);
  }
}

function linkOrCopy(source: string, target: string): void {
  try {
    linkSync(source, target);
  } catch {
    cpSync(source, target);
  }
}
