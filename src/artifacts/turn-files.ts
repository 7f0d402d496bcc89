import path from 'node:path/posix';
import type { ToolFile } from '../reply/tool-files.ts';
import { type AgentFile, type FileSources, sandboxAgentFile, toolAgentFile } from './agent-file.ts';
import type { DropCount } from './dropped-files.ts';
import { isDeceiving } from './filenames.ts';

/** Files that tool calls of one turn may name; the last ones count. */
const maxToolFiles = 200;

/**
 * The files that tool calls wrote or changed, each once and as it is at the end, in the order of their last
 * change. A deleted file is none; one outside the sandbox is dropped.
 */
export async function toolFiles(
  calls: readonly ToolFile[],
  sources: FileSources,
  dropped: DropCount,
): Promise<readonly AgentFile[]> {
  const files = new Map<string, AgentFile>();
  // Looked up once: a turn may have made a hundred thousand calls, and this is before any limit of time.
  const pathOf = await sources.sandbox.pathsBelow();
  for (const call of calls) {
    const relative = pathOf(call.path);
    if (relative === undefined) dropped.add('outside_sandbox', shownOutside(call.path));
    else if (isDeceiving(relative)) dropped.add('unsafe_file', relative);
    else {
      // One file may go by two paths: absolute and relative, or through `..`.
      files.delete(relative);
      if (call.deleted !== true) files.set(relative, toolAgentFile(call, relative, sources));
    }
  }
  const all = [...files.values()];
  const left = all.slice(0, Math.max(0, all.length - maxToolFiles));
  dropped.addMany(
    'too_many',
    left.length,
    left.map((file) => file.path),
  );
  return all.slice(left.length);
}

export interface SandboxScan {
  /** Unix ms by the clock of the server. */
  readonly cutoff: number;
  /** Names in the sandbox of what the user sent along: no work of the agent's. */
  readonly uploadEcho: ReadonlySet<string>;
  /** Paths that are on the list already. */
  readonly known: ReadonlySet<string>;
  /** Files that are wanted however many others there are. */
  readonly wanted: (file: AgentFile) => Promise<boolean>;
  /** How many of the others are taken, the most recently modified first. */
  readonly maxOthers: number;
}

/** What else lies in the sandbox, safe and changed since the cutoff. */
export async function sandboxFiles(
  { sandbox }: FileSources,
  { cutoff, uploadEcho, known, wanted, maxOthers }: SandboxScan,
  dropped: DropCount,
  signal: AbortSignal,
): Promise<readonly AgentFile[]> {
  const { files, refused, leftOut, complete } = await sandbox.files({ after: cutoff }, signal);
  if (!complete) dropped.add('folder_too_large', '.');
  const found = files
    .filter(({ filename }) => !uploadEcho.has(filename) && !known.has(filename))
    .map(sandboxAgentFile);
  const named: AgentFile[] = [];
  const others: AgentFile[] = [];
  for (const file of found) ((await wanted(file)) ? named : others).push(file);
  const left = others.slice(maxOthers);
  if (maxOthers > 0) {
    const unsafe = refused.map(({ filename }) => filename).filter((name) => !known.has(name));
    dropped.addMany('unsafe_file', unsafe.length, unsafe);
    dropped.addMany(
      'too_many',
      left.length + leftOut,
      left.map((file) => file.path),
    );
  }
  return [...named, ...others.slice(0, maxOthers)];
}

/** Absolute paths tell about a machine: outside the sandbox only the name is told. */
const shownOutside = (given: string) => path.join('…', path.basename(given));
