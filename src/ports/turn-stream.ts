import type { TurnEnd, TurnEntryBody, TurnView } from '../turn/entry.ts';
import type { StreamPlace, StreamPosition } from '../turn/stream-position.ts';
import type { Fence } from './turn-store.ts';

/**
 * The stream of entries that followers of a turn read. Fenced: opening it for an epoch shuts every older one
 * out, so that a worker that lost its turn can tell followers nothing. Its entries, from the first one on, always give
 * the whole state: whoever begins a stream anew begins it with a snapshot. Throws ServiceUnavailableError('redis').
 */
export interface TurnPublisher {
  /** Takes the stream over, under a new name; returns what followers have been told, or null when that is not kept. */
  open(fence: Fence): Promise<{ readonly view: TurnView | null; readonly at: StreamPosition }>;
  /**
   * Appends in order, all or nothing; returns the place of the last entry, or null when the stream does not stand at
   * `where`: Redis has lost it, or its last entries. Nothing comes behind `finished`. Throws OwnershipLostError.
   */
  append(fence: Fence, where: StreamPlace, entries: readonly TurnEntryBody[]): Promise<StreamPosition | null>;
  /** Tells the end of a turn that nobody carries any more; `view`, what followers hold then, comes in front of it. */
  end(fence: Fence, end: TurnEnd, view?: TurnView): Promise<void>;
}

/** How much one read brings at most: so many entries, and no more once they hold so many bytes. */
export interface StreamBatch {
  readonly count: number;
  readonly bytes: number;
}

export interface StreamRead {
  /** Of the last entry that is there. */
  readonly last: StreamPosition;
  /** The place that was asked for is one of this stream. Otherwise there are no entries. */
  readonly known: boolean;
  /** Those behind that place, in order. `body` is undefined for one that is no entry of ours, and throws NewerVersionError. */
  readonly entries: readonly { readonly number: number; readonly body: TurnEntryBody | undefined }[];
  /** Characters of all of them. */
  readonly size: number;
}

/** The reading side of the same stream. Throws ServiceUnavailableError('redis'). */
export interface TurnReader {
  /** It was closed on purpose, and does not come back. */
  readonly closed: boolean;
  /** What comes behind that place. At least one entry, if there is any. */
  read(turnId: string, after: StreamPosition, batch: StreamBatch): Promise<StreamRead>;
}
