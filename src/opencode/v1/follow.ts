import type { FollowedPrompt, FollowOptions, UpstreamSink } from '../../ports/upstream.ts';
import type { PromptIds } from '../../turn/phase.ts';
import { decodeEvent } from './decode.ts';
import { isProgress, mayBeTheEnd, OwnEvents } from './own-events.ts';
import { readTurn } from './read-turn.ts';
import type { EventFeed, OpenCode } from './server.ts';
import { isShownAsBefore, judge, notBegun, settleMsOf } from './verdict.ts';

/** Listens to the turn of one prompt, and reads what has become of it. */
export function followPrompt(
  { client, feed }: { readonly client: OpenCode; readonly feed: EventFeed },
  ids: PromptIds,
  { told, children, reply }: FollowOptions,
  sink: UpstreamSink,
): FollowedPrompt {
  const own = new OwnEvents(ids, told);
  let live = false;
  const subscription = feed.subscribe(ids.directory, [ids.sessionId, ...children], {
    connected: () => {
      live = true;
      sink.connected();
    },
    event: (wire) => {
      const event = decodeEvent(wire);
      sink.heard({
        event,
        own: own.take(event),
        moves: isProgress(event, ids.promptMessageId),
        mayEnd: mayBeTheEnd(event),
      });
    },
    gap: (error) => {
      if (live) own.gap();
      live = false;
      sink.gap(error);
    },
  });
  return {
    ready: async (signal) => {
      try {
        await subscription.ready(signal);
      } catch (error) {
        // What it tells once it is live, it may have told of the prompt before.
        own.gap();
        throw error;
      }
    },
    add: (sessionId) => subscription.add(sessionId),
    close: () => subscription.close(),
    read: async (options, signal) => {
      const { childBusy, ...reading } = await readTurn({ client, ids, reply }, options, signal);
      const { exchange, busy } = reading;
      const streamError = own.errorOf(exchange);
      const judged = { exchange, busy, childBusy, idleSeen: reply.idle, streamError };
      if (!busy && isShownAsBefore(exchange, options))
        return { ...reading, ...notBegun(streamError), streamError };
      const found = judge(judged);
      // A server that disposes of its instance loses all runs in it.
      const verdict = found.kind === 'aborted' && own.takeDisposed() ? ({ kind: 'lost' } as const) : found;
      return { ...reading, verdict, settleMs: settleMsOf(verdict, judged), streamError };
    },
  };
}
