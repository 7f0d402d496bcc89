import type { ToolPart } from './part.ts';

export interface FileDiff {
  readonly file: string | undefined;
  /** Unified, as upstream made it. */
  readonly patch: string;
  readonly additions: number;
  readonly deletions: number;
}

/** What a tool call changed. The outer figures are the sums over `files`. */
export interface ToolDiff extends Omit<FileDiff, 'file'> {
  readonly files: readonly FileDiff[];
}

/**
 * From what upstream tells about an `edit`, `multiedit` or `apply_patch`. While an edit is still under way
 * there is only its input: the lines that go and the lines that come.
 */
export function toolDiff({ input, metadata }: Pick<ToolPart, 'input' | 'metadata'>): ToolDiff | undefined {
  const files = [metadata.filediff, ...list(metadata.files)].flatMap(fileDiff);
  if (files.length > 0) return sum(files);
  if (typeof metadata.diff === 'string' && metadata.diff !== '') return sum([counted(metadata.diff)]);
  const edits = [input, ...list(input.edits)].flatMap(planned);
  return edits.length > 0 ? sum(edits) : undefined;
}

function fileDiff(value: unknown): FileDiff[] {
  if (typeof value !== 'object' || value === null) return [];
  const { file, relativePath, filePath, patch, additions, deletions } = value as Record<string, unknown>;
  if (typeof patch !== 'string') return [];
  const own = counted(patch, text(file) ?? text(relativePath) ?? text(filePath));
  return [
    { ...own, additions: count(additions) ?? own.additions, deletions: count(deletions) ?? own.deletions },
  ];
}

function planned(value: unknown): FileDiff[] {
  if (typeof value !== 'object' || value === null) return [];
  const { filePath, oldString, newString } = value as Record<string, unknown>;
  if (typeof oldString !== 'string' || typeof newString !== 'string') return [];
  const patch = [...lines(oldString, '-'), ...lines(newString, '+')].join('\n');
  return [counted(patch, text(filePath))];
}

function counted(patch: string, file?: string): FileDiff {
  const all = patch.split('\n');
  const starting = (sign: string) =>
    all.filter((line) => line.startsWith(sign) && !line.startsWith(sign.repeat(3))).length;
  return { file, patch, additions: starting('+'), deletions: starting('-') };
}

function sum(files: readonly FileDiff[]): ToolDiff {
  const total = (field: 'additions' | 'deletions') => files.reduce((all, file) => all + file[field], 0);
  return {
    files,
    patch: files.map(({ patch }) => patch).join('\n'),
    additions: total('additions'),
    deletions: total('deletions'),
  };
}

const lines = (value: string, sign: string) =>
  value === '' ? [] : value.split('\n').map((line) => sign + line);
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
const count = (value: unknown) =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
