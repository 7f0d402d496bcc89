import { fittedParts } from '../bounds/bounded-reply.ts';
import { OwnershipLostError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Fence } from '../ports/turn-store.ts';
import type { TurnPublisher } from '../ports/turn-stream.ts';
import type { Part } from '../reply/part.ts';
import { backoffMs } from '../timing/backoff.ts';
import type { Clock } from '../timing/clock.ts';
import { applyEntry, type TurnEnd, type TurnEntryBody, type TurnView } from '../turn/entry.ts';
import type { StreamPlace, StreamPosition } from '../turn/stream-position.ts';
import { EntryBuffer } from './entry-buffer.ts';

export interface FollowerFeedOptions {
  readonly publisher: TurnPublisher;
  readonly fence: Fence;
  readonly clock: Clock;
  readonly reporter: ErrorReporter;
  /** The stored turn as followers see it. */
  readonly view: TurnView;
  /** The current parts, in order; read again after a failed append. */
  readonly parts: () => readonly Part[];
  /** A newer owner has the stream. */
  readonly onOwnershipLost: (error: OwnershipLostError) => void;
  /** At most one append in this time: 50 ms = 20 entries a second. */
  readonly intervalMs?: number;
}

/** Entries that are made anew from the parts, once it is known what followers hold. */
const remade: ReadonlySet<TurnEntryBody['type']> = new Set(['text', 'part', 'parts']);
const retry = { firstMs: 100, maxMs: 2_000 };

/**
 * Tells followers what happens: text at most once per interval, the first of it at once. One append is under way
 * at a time. Redis away: nothing is queued, nothing is lost; after it is back followers get the difference
 * between what they were told and what is. Redis that has lost the stream, or its last entries: followers get everything
 * again, in a stream that begins with a snapshot. Never throws into the turn.
 */
export class FollowerFeed {
  readonly #options: FollowerFeedOptions;
  #buffer = new EntryBuffer();
  #progress: Extract<TurnEntryBody, { type: 'progress' }> = { type: 'progress', progress: 'started' };
  /** Where the next entry comes; undefined when nobody knows what followers hold. */
  #place: StreamPlace | undefined;
  /** As followers hold it; its parts are the buffer's. */
  #view: TurnView;
  #flushing: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #lastFlushAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #settled: readonly Part[] | undefined;
  #closed = false;

  constructor(options: FollowerFeedOptions) {
    this.#options = options;
    this.#view = options.view;
  }

  /** What followers have been told, or null when nobody knows. Throws OwnershipLostError; Redis away: null. */
  async open(): Promise<readonly Part[] | null> {
    try {
      const { view, at } = await this.#options.publisher.open(this.#options.fence);
      this.#place = view ? at : 'anew';
      this.#view = view ?? this.#view;
      this.#buffer = new EntryBuffer(view?.parts);
      return view?.parts ?? null;
    } catch (error) {
      if (error instanceof OwnershipLostError) throw error;
      this.#options.reporter.report(error, { action: 'follower-feed.open', severity: 'warning' });
      return null;
    }
  }

  /** Nobody has been told anything: the stream is taken over with the first entry. */
  begin(): void {
    this.#place = 'any';
  }

  /** The last entry that is known to be told; undefined before the first, and while nobody knows. */
  get at(): StreamPosition | undefined {
    return typeof this.#place === 'string' ? undefined : this.#place;
  }

  change(part: Part, rewritten = false): void {
    if (this.#settled) return;
    this.#buffer.change(part, rewritten);
    this.#schedule();
  }

  /** The list itself was corrected: followers get it whole. */
  reset(parts: readonly Part[]): void {
    if (this.#settled) return;
    this.#buffer.reset(parts);
    this.#schedule();
  }

  /** The parts are stored for good: followers get exactly these, and no later change of any. */
  settle(parts: readonly Part[]): void {
    this.#settled = parts;
    this.#buffer.settle(parts);
    this.#schedule();
  }

  add(entry: TurnEntryBody): void {
    if (entry.type === 'progress') this.#progress = entry;
    this.#buffer.add(entry);
    this.#schedule();
  }

  /** The turn waits for its server; after that it is where it was before. */
  setWaiting(waiting: boolean): void {
    this.#buffer.add(waiting ? { type: 'progress', progress: 'waiting_for_server' } : this.#progress);
    this.#schedule();
  }

  /** Appends what is waiting and resolves when that was tried; errors are reported, not thrown. */
  async flush(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    // Two who waited for the same append: the first to go on is the next one under way.
    while (this.#flushing) await this.#flushing;
    if (this.#closed || this.#buffer.empty) return;
    this.#flushing = this.#append().finally(() => {
      this.#flushing = undefined;
      if (!this.#buffer.empty) this.#schedule();
    });
    await this.#flushing;
  }

  /** Appends what is waiting and the end behind it, in one step. Throws ServiceUnavailableError: then neither is told. */
  async end(end: TurnEnd): Promise<void> {
    this.#cancelTimer?.();
    while (this.#flushing) await this.#flushing;
    if (this.#closed) return;
    this.#closed = true;
    if (this.#place === undefined) await this.#reopen();
    await this.#send([...this.#buffer.drain(this.#parts), { type: 'finished', ...end }]);
  }

  /** No timer and no append is left after this; what was not flushed is dropped. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer?.();
    await this.#flushing;
  }

  #schedule(): void {
    if (this.#closed || this.#cancelTimer || this.#flushing) return;
    const { clock, intervalMs = 50 } = this.#options;
    const pause = this.#failures > 0 ? backoffMs(this.#failures - 1, retry) : intervalMs;
    const waitMs = Math.max(0, this.#lastFlushAt + pause - clock.monotonicMs());
    this.#cancelTimer = clock.setTimer(waitMs, () => {
      this.#cancelTimer = undefined;
      void this.flush();
    });
  }

  async #append(): Promise<void> {
    let sent: readonly TurnEntryBody[] = [];
    try {
      if (this.#place === undefined) await this.#reopen();
      sent = this.#buffer.drain(this.#parts);
      if (sent.length > 0) await this.#send(sent);
      this.#failures = 0;
      // Progress is rare, and holds up no text: that of a turn that has just begun comes at once.
      if (sent.some(({ type }) => remade.has(type))) this.#notePause();
    } catch (error) {
      this.#failed(error, sent);
      this.#notePause();
    }
  }

  #notePause(): void {
    this.#lastFlushAt = this.#options.clock.monotonicMs();
  }

  async #send(entries: readonly TurnEntryBody[]): Promise<void> {
    const { publisher, fence } = this.#options;
    const place = this.#place ?? 'anew';
    const at = place === 'anew' ? null : await publisher.append(fence, place, entries);
    this.#place = at ?? (await this.#tellAnew(entries));
    this.#view = entries.reduce(withoutParts, this.#view);
  }

  /** Of the entries, those that make no part of the state come behind it. */
  async #tellAnew(entries: readonly TurnEntryBody[]): Promise<StreamPosition | undefined> {
    const { publisher, fence } = this.#options;
    const parts = fittedParts(this.#parts());
    const last = entries.filter(({ type }) => type === 'finished');
    const { end: _end, ...view } = entries
      .filter((entry) => !last.includes(entry))
      .reduce(withoutParts, this.#view);
    // Before anything is awaited: what changes meanwhile is told against these.
    this.#buffer.rebase(parts, this.#parts());
    const whole = { type: 'snapshot', view: { ...view, status: 'pending', parts } } as const;
    return (await publisher.append(fence, 'anew', [whole, ...last])) ?? undefined;
  }

  #failed(error: unknown, sent: readonly TurnEntryBody[]): void {
    const { reporter, onOwnershipLost } = this.#options;
    if (error instanceof OwnershipLostError) {
      this.#closed = true;
      onOwnershipLost(error);
      return;
    }
    // The append may or may not have reached Redis: what followers hold is read again before the next one.
    this.#place = undefined;
    for (const entry of sent) if (!remade.has(entry.type)) this.#buffer.add(entry);
    if (this.#failures === 0) {
      reporter.report(error, {
        action: 'follower-feed.append',
        severity: 'warning',
        turnId: this.#options.fence.turnId,
      });
    }
    this.#failures += 1;
  }

  async #reopen(): Promise<void> {
    const { publisher, fence } = this.#options;
    const { view, at } = await publisher.open(fence);
    this.#place = view ? at : 'anew';
    this.#buffer.rebase(view?.parts ?? [], this.#parts());
  }

  readonly #parts = () => this.#settled ?? this.#options.parts();
}

/** The view after one more entry, but for its parts. */
const withoutParts = (view: TurnView, entry: TurnEntryBody): TurnView =>
  remade.has(entry.type) ? view : applyEntry(view, entry);
