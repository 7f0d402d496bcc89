import type { ToolPart } from './part.ts';

/** A file that a completed tool call wrote or changed, as the call describes it. Nothing is read here. */
export interface ToolFile {
  /** As upstream names it: absolute, or relative to the sandbox. */
  readonly path: string;
  readonly kind: 'write' | 'edit' | 'patch';
  /** The whole content, known for `write` only. */
  readonly content?: string;
  /** Where it was before a patch moved it; stays when the file is changed again. */
  readonly renamedFrom?: string;
  readonly deleted?: boolean;
}

type Reader = (part: ToolPart) => ToolFile[];

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);

const readers: Record<string, Reader> = {
  write: ({ input, metadata }) => {
    const path = text(metadata.filepath) ?? text(input.filePath);
    const content = text(input.content);
    return path === undefined || content === undefined ? [] : [{ path, kind: 'write', content }];
  },
  edit: edited,
  multiedit: edited,
  apply_patch: ({ metadata }) => (Array.isArray(metadata.files) ? metadata.files.flatMap(patched) : []),
};

/** The model may write a path in many ways; upstream's own word for it comes first. */
function edited({ input, metadata }: ToolPart): ToolFile[] {
  const { filediff } = metadata;
  const told =
    typeof filediff === 'object' && filediff !== null && 'file' in filediff ? filediff.file : undefined;
  const path = text(told) ?? text(input.filePath);
  return path === undefined ? [] : [{ path, kind: 'edit' }];
}

function patched(file: unknown): ToolFile[] {
  if (typeof file !== 'object' || file === null) return [];
  const { filePath, relativePath, movePath, type } = file as Record<string, unknown>;
  const path = text(filePath) ?? text(relativePath);
  if (path === undefined) return [];
  if (type === 'delete') return [{ path, kind: 'patch', deleted: true }];
  const target = text(movePath);
  if (target === undefined) return [{ path, kind: 'patch' }];
  return [
    { path, kind: 'patch', deleted: true },
    { path: target, kind: 'patch', renamedFrom: path },
  ];
}

/** In order of the last change. A deleted file stays in the list as deleted. */
export function toolFiles(parts: readonly ToolPart[], exclude: ReadonlySet<string> = new Set()): ToolFile[] {
  const files = new Map<string, ToolFile>();
  for (const part of parts) {
    if (part.status !== 'completed' || !Object.hasOwn(readers, part.tool)) continue;
    for (const file of readers[part.tool]?.(part) ?? []) {
      const { renamedFrom } = files.get(file.path) ?? {};
      files.delete(file.path);
      const keeps = renamedFrom !== undefined && !file.deleted;
      files.set(file.path, keeps ? { renamedFrom, ...file } : file);
    }
  }
  return [...files.values()].filter(({ path }) => !exclude.has(path));
}
