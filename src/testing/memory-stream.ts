import { randomBytes } from 'node:crypto';
import { OwnershipLostError } from '../errors.ts';
import type { Fence } from '../ports/turn-store.ts';
import type { StreamBatch, StreamRead, TurnPublisher, TurnReader } from '../ports/turn-stream.ts';
import type { Clock } from '../timing/clock.ts';
import { applyEntry, emptyView, type TurnEnd, type TurnEntryBody, type TurnView } from '../turn/entry.ts';
import type { StreamPlace, StreamPosition } from '../turn/stream-position.ts';
import type { MemoryNotifier } from './memory-notifier.ts';

export interface MemoryStreamOptions {
  readonly clock: Clock;
  /** Told with each append. */
  readonly notifier: Pick<MemoryNotifier, 'notify'>;
  /** By turn; what several share is one. */
  readonly streams?: Map<string, Stream>;
  /** The rest as the stream on Redis has them. */
  readonly maxLength?: number;
  readonly maxBytes?: number;
  readonly keepMs?: number;
  readonly abandonedMs?: number;
}

/** One turn's stream. */
export interface Stream {
  name: string;
  entries: { readonly number: number; readonly text: string }[];
  last: number;
  /** The name that it had up to that entry. */
  before: StreamPosition | undefined;
  epoch: number;
  ended: boolean;
  expiresAt: number;
}

const empty = (): Stream => ({
  name: '',
  entries: [],
  last: 0,
  before: undefined,
  epoch: 0,
  ended: false,
  expiresAt: Number.POSITIVE_INFINITY,
});

/** The followers' stream in memory: the same decisions as those of the scripts on Redis (`redis/stream-scripts.ts`). */
export class MemoryStream implements TurnPublisher, TurnReader {
  closed = false;
  readonly #streams: Map<string, Stream>;
  readonly #options: Required<Omit<MemoryStreamOptions, 'streams'>>;

  constructor({ streams = new Map(), ...options }: MemoryStreamOptions) {
    this.#streams = streams;
    const bounds = { maxLength: 5_000, maxBytes: 8 * 1024 * 1024, keepMs: 600_000, abandonedMs: 86_400_000 };
    this.#options = { ...bounds, ...options };
  }

  async open(fence: Fence): Promise<{ view: TurnView | null; at: StreamPosition }> {
    const stream = this.#owned(fence);
    if (!stream.ended) {
      stream.before = stream.name === '' ? undefined : { stream: stream.name, number: stream.last };
      stream.name = newName();
      this.#told(fence.turnId, stream, false);
    }
    const { entries, name, last } = stream;
    const whole = entries[0]?.number === 1;
    const view = whole ? entries.map(bodyOf).reduce<TurnView>(applyEntry, emptyView) : null;
    return { at: { stream: name, number: last }, view };
  }

  async append(
    fence: Fence,
    where: StreamPlace,
    entries: readonly TurnEntryBody[],
  ): Promise<StreamPosition | null> {
    const stream = this.#owned(fence);
    if (!stream.ended) {
      if (!stands(stream, where)) return null;
      if (where === 'anew' || stream.name === '') Object.assign(stream, empty(), { name: newName() });
      stream.epoch = fence.epoch;
      for (const entry of entries) {
        stream.last += 1;
        stream.entries.push({ number: stream.last, text: JSON.stringify(entry) });
      }
      this.#trim(stream);
      this.#told(fence.turnId, stream, entries.at(-1)?.type === 'finished');
    }
    return { stream: stream.name, number: stream.last };
  }

  async end(fence: Fence, end: TurnEnd, view?: TurnView): Promise<void> {
    const whole = view ? [{ type: 'snapshot', view } as const] : [];
    await this.append(fence, 'any', [...whole, { type: 'finished', ...end }]);
  }

  async read(turnId: string, after: StreamPosition, { count, bytes }: StreamBatch): Promise<StreamRead> {
    const stream = this.#kept(turnId) ?? empty();
    const last = { stream: stream.name, number: stream.last };
    if (!isKnown(stream, after)) return { last, known: false, entries: [], size: 0 };
    const entries: StreamRead['entries'][number][] = [];
    let size = 0;
    for (const entry of stream.entries) {
      if (entry.number <= after.number) continue;
      if (entries.length > 0 && (entries.length >= count || size >= bytes)) break;
      entries.push({ number: entry.number, body: bodyOf(entry) });
      size += entry.text.length;
    }
    return { last, known: true, entries, size };
  }

  /** The stream of the turn, which belongs to this epoch now. Throws OwnershipLostError. */
  #owned({ turnId, epoch }: Fence): Stream {
    const stream = this.#kept(turnId) ?? empty();
    if (stream.epoch > epoch) throw new OwnershipLostError(turnId, epoch);
    if (!stream.ended) stream.epoch = epoch;
    this.#streams.set(turnId, stream);
    return stream;
  }

  #kept(turnId: string): Stream | undefined {
    const stream = this.#streams.get(turnId);
    if (stream && stream.expiresAt <= this.#options.clock.now()) this.#streams.delete(turnId);
    return this.#streams.get(turnId);
  }

  #told(turnId: string, stream: Stream, ended: boolean): void {
    const { clock, notifier, keepMs, abandonedMs } = this.#options;
    stream.ended = ended;
    stream.expiresAt = clock.now() + (ended ? keepMs : abandonedMs);
    void notifier.notify(turnId, ended ? 'ended' : 'grown');
  }

  #trim(stream: Stream): void {
    const { maxLength, maxBytes } = this.#options;
    let bytes = stream.entries.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
    while (stream.entries.length > 1 && (stream.entries.length > maxLength || bytes > maxBytes))
      bytes -= Buffer.byteLength(stream.entries.shift()?.text ?? '');
  }
}

const newName = () => randomBytes(6).toString('hex');

const bodyOf = ({ text }: { readonly text: string }): TurnEntryBody => JSON.parse(text);

function stands({ name, last }: Stream, where: StreamPlace): boolean {
  return typeof where === 'string' || (name !== '' && where.stream === name && where.number === last);
}

function isKnown({ name, last, before }: Stream, after: StreamPosition): boolean {
  if (after.stream === '') return after.number === 0;
  if (after.stream === name) return after.number <= last;
  return after.stream === before?.stream && after.number <= before.number;
}
