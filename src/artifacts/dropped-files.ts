import {
  FileTooLargeError,
  InvalidInputError,
  NotFoundError,
  TransformError,
  UnsafeFileError,
} from '../errors.ts';

/** Why a file was not attached. Stable, for programs. */
export type DropReason =
  | 'outside_sandbox'
  | 'unsafe_file'
  | 'file_too_large'
  | 'not_found'
  | 'unreadable'
  /** It wears a name of a transform and does not come out of it. */
  | 'reserved_name'
  | 'transform_failed'
  /** Something else is attached under that name. */
  | 'name_taken'
  | 'too_many'
  /** The sandbox has more entries than are looked at; counted once, since nobody has counted what is in there. */
  | 'folder_too_large'
  | 'out_of_time';

/** Files that were left out for one reason. */
export interface DroppedFiles {
  readonly reason: DropReason;
  readonly count: number;
  /** Relative paths of the first five. */
  readonly paths: readonly string[];
}

const maxPaths = 5;

const reasons: readonly (readonly [new (...args: never[]) => Error, DropReason])[] = [
  [UnsafeFileError, 'unsafe_file'],
  [FileTooLargeError, 'file_too_large'],
  [NotFoundError, 'not_found'],
  [TransformError, 'transform_failed'],
  [InvalidInputError, 'unsafe_file'],
];

export const dropReason = (error: unknown): DropReason =>
  reasons.find(([type]) => error instanceof type)?.[1] ?? 'unreadable';

/** Counts what is left out, by reason. Nothing is left out without a word here. */
export class DropCount {
  readonly #byReason = new Map<DropReason, { count: number; paths: string[] }>();

  add(reason: DropReason, path: string): void {
    this.addMany(reason, 1, [path]);
  }

  /** `paths` may be fewer than `count`. */
  addMany(reason: DropReason, count: number, paths: readonly string[] = []): void {
    if (count === 0) return;
    const known = this.#byReason.get(reason) ?? { count: 0, paths: [] };
    known.count += count;
    known.paths.push(...paths.slice(0, maxPaths - known.paths.length));
    this.#byReason.set(reason, known);
  }

  get all(): readonly DroppedFiles[] {
    return [...this.#byReason].map(([reason, { count, paths }]) => ({ reason, count, paths }));
  }
}
