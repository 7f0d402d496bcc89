import { checkCallOptions } from '../checking/check-signal.ts';
import { webSettings } from '../config/web-settings.ts';
import { InvalidInputError, NotFoundError } from '../errors.ts';
import type { TurnEntry } from '../turn/entry.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';

export interface EventStreamOptions {
  /** The request's `Last-Event-ID` header, which browsers send when they connect again. One that came twice is refused. */
  readonly lastEventId?: string | readonly string[] | null | undefined;
  /** Aborts when the client leaves (`request.signal`). Leaving never cancels the turn. */
  readonly signal?: AbortSignal;
  /** A comment is sent after so much silence, so that proxies keep the connection. Default 15,000; 100 to 600,000. */
  readonly heartbeatMs?: number;
}

/** What of `Turns` is needed to tell a turn. */
export interface TurnSource {
  get(turnId: string): Promise<StoredTurn | null>;
  follow(turnId: string, options: { after?: string; signal?: AbortSignal }): AsyncGenerator<TurnEntry>;
}

const headers = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  // nginx would hold the stream back.
  'x-accel-buffering': 'no',
};

/** Marks the id of the last entry: whoever has seen it needs no more. */
const endMark = '/end';
/** How soon a browser connects again, in ms. */
const retryMs = 1_000;

/**
 * A turn as Server-Sent Events: each entry as the JSON of one `message` event, from the first one or from behind
 * `lastEventId`, to the terminal one; then the response ends. `EventSource` connects again by itself, sends the id of
 * the last entry that it saw, and misses and repeats nothing; once it has seen the end it gets 204, which stops it.
 * One entry is held at a time, so a slow client costs no memory. The caller has checked that this client may read
 * this turn. Throws NotFoundError, InvalidInputError, InvalidConfigError, ServiceUnavailableError before there is a response; a service
 * that goes away later ends the response, and the client comes back.
 */
export async function eventStream(
  turns: TurnSource,
  turnId: string,
  options: EventStreamOptions = {},
): Promise<Response> {
  checkCallOptions(options);
  const { lastEventId, signal, ...given } = options;
  const { heartbeatMs } = webSettings(given);
  if (!(await turns.get(turnId))) throw new NotFoundError('turn', turnId);
  const seen = lastEventId ?? '';
  if (typeof seen !== 'string') throw new InvalidInputError('lastEventId', 'must be a string');
  if (seen.endsWith(endMark)) return new Response(null, { status: 204 });
  const leave = new AbortController();
  const entries = turns.follow(turnId, {
    signal: leave.signal,
    ...(seen ? { after: seen } : {}),
  });
  // The abort ends a wait, the return a pause between two reads: either may be what the client leaves behind.
  const end = async () => {
    leave.abort();
    await entries.return(undefined);
  };
  signal?.addEventListener('abort', () => void end(), { once: true });
  if (signal?.aborted) void end();
  // Asked for before the response is made: a cursor that is none is the caller's to tell.
  const first = entries.next();
  await orAfter(first, 0);
  const frames = framesOf(entries, first, heartbeatMs);
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await frames.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers });
}

async function* framesOf(
  entries: AsyncGenerator<TurnEntry>,
  first: Promise<IteratorResult<TurnEntry>>,
  heartbeatMs: number,
): AsyncGenerator<string, void> {
  yield `retry: ${retryMs}\n\n`;
  let next = first;
  try {
    for (;;) {
      const result = await orAfter(next, heartbeatMs);
      if (result === undefined) {
        yield ':\n\n';
        continue;
      }
      if (result.done) return;
      yield frameOf(result.value);
      next = entries.next();
    }
  } catch {
    // The client is told by the end of the response, and by the error of its next request.
  }
}

/** JSON holds no line break of its own, so one entry is one line. */
function frameOf(entry: TurnEntry): string {
  const id = entry.type === 'finished' ? `${entry.id}${endMark}` : entry.id;
  return `id: ${id}\ndata: ${JSON.stringify(entry)}\n\n`;
}

/** The promise's outcome, or undefined when it takes longer. */
async function orAfter<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
