/**
 * A place in the followers' stream of a turn: behind entry `number` of the stream of that name. Redis may lose a stream
 * and get another one for the same turn, or lose only its last entries; a number alone would then lead into the
 * middle of what the reader has never seen.
 */
export interface StreamPosition {
  /** Made anew with each stream, and whenever it is no longer certain what followers were told. Empty: none. */
  readonly stream: string;
  readonly number: number;
}

/**
 * Where entries are appended: behind the last one that the writer knows, wherever the stream stands, or as the beginning
 * of a new stream in place of the old one.
 */
export type StreamPlace = StreamPosition | 'any' | 'anew';

/** Of a reader who has seen nothing. */
export const beginning: StreamPosition = { stream: '', number: 0 };

/** The place as the id of an entry. To readers it means nothing by itself; one without a stream brings a snapshot first. */
export const cursorOf = ({ stream, number }: StreamPosition): string =>
  stream === '' ? String(number) : `${number}-${stream}`;

/**
 * Undefined for what is no cursor. A number alone is of a stream that nobody knows: of an earlier release, or of a
 * reader who lacks something.
 */
export function positionOf(cursor: string): StreamPosition | undefined {
  const [, number, stream = ''] = /^(\d{1,15})(?:-([0-9a-f]{12}))?$/.exec(cursor) ?? [];
  return number === undefined ? undefined : { stream, number: Number(number) };
}
