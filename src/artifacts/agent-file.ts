import path from 'node:path/posix';
import { FileTooLargeError, NotFoundError } from '../errors.ts';
import type { ToolFile } from '../reply/tool-files.ts';
import { contentTypeOf } from './content-type.ts';
import type { Sandbox } from './sandbox.ts';
import type { SandboxFile } from './sandbox-file.ts';

/** A file that the agent made, as rules and the attach pipeline see it. Its name and bytes are a stranger's. */
export interface AgentFile {
  /** Relative to the agent's directory, with slashes. */
  readonly path: string;
  /** The last part of the path. */
  readonly filename: string;
  /** By the extension alone. */
  readonly contentType: string;
  /** By whom it was found: named by a tool call, or lying in the sandbox. */
  readonly source: 'tool' | 'sandbox';
  /** The final bytes. Throws UnsafeFileError, FileTooLargeError, NotFoundError, and upstream's errors. */
  content(signal?: AbortSignal): Promise<Buffer>;
}

/** Where the bytes of a file that a tool call names may be found. */
export interface FileSources {
  readonly sandbox: Sandbox;
  /** The server's own view, for a sandbox on another machine. Null when it has no such file. */
  readonly readUpstream: (path: string, signal?: AbortSignal) => Promise<Buffer | null>;
}

export function sandboxAgentFile(file: SandboxFile): AgentFile {
  const { filename, contentType } = file;
  return {
    path: filename,
    filename,
    contentType,
    source: 'sandbox',
    content: (signal) => file.content(signal),
  };
}

/** `relative`: the call's path below the sandbox. */
export function toolAgentFile(call: ToolFile, relative: string, sources: FileSources): AgentFile {
  return {
    path: relative,
    filename: path.basename(relative),
    contentType: contentTypeOf(relative),
    source: 'tool',
    content: (signal) => finalBytes(call, relative, sources, signal),
  };
}

/**
 * What lies in the sandbox is what all tools made of the file, formatters included, so it comes first. Where
 * nothing lies (another machine's sandbox, or deleted since), a `write` call knows its own content, and upstream
 * is asked for the rest. A file here that is not safe is refused: upstream would follow what we do not.
 */
async function finalBytes(
  { content }: ToolFile,
  relative: string,
  { sandbox, readUpstream }: FileSources,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const local = await sandbox.fileAt(relative);
  if (local) return local.content(signal);
  const bytes = content === undefined ? await readUpstream(relative, signal) : Buffer.from(content);
  if (bytes === null) throw new NotFoundError('file', relative);
  if (bytes.length > sandbox.maxFileBytes)
    throw new FileTooLargeError(path.basename(relative), sandbox.maxFileBytes);
  return bytes;
}
