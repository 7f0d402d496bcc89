/**
 * What one look at upstream means. Pure. The status must have been read BEFORE the messages: a session that
 * was idle then adds nothing to the messages that were read after. `idle` events carry no result.
 */
import type { Exchange } from '../reply/exchange.ts';
import type { TurnFailure } from './stored-turn.ts';

export interface Look {
  readonly exchange: Exchange;
  /** The session, or one of its children, is busy or waits to retry its provider. */
  readonly busy: boolean;
  /** The last `session.error` on the stream that may be this turn's, if any. */
  readonly streamError: TurnFailure | undefined;
}

export type Verdict =
  | { readonly kind: 'working' }
  /**
   * Upstream does nothing, yet the exchange is not final: look again; if it stays so, the run is lost, or has failed
   * with `failure` before it began. A session's error alone is no verdict: it names no prompt.
   */
  | { readonly kind: 'unsettled'; readonly failure?: TurnFailure }
  | { readonly kind: 'completed' }
  /** Idle and complete without a word: look once more, then it counts as an empty answer. */
  | { readonly kind: 'empty' }
  /** The model or server ended it with an error. */
  | { readonly kind: 'failed'; readonly failure: TurnFailure }
  /** Aborted, and whoever reads this knows whether it was us. */
  | { readonly kind: 'aborted' };

export function judge({ exchange, busy, streamError }: Look): Verdict {
  if (busy) return { kind: 'working' };
  const last = exchange.lastAssistant;
  if (last === undefined) {
    return streamError ? { kind: 'unsettled', failure: streamError } : { kind: 'unsettled' };
  }
  if (exchange.error?.name === 'MessageAbortedError') return { kind: 'aborted' };
  if (exchange.error) return { kind: 'failed', failure: failureOf(exchange.error) };
  if (exchange.inProgress) return { kind: 'unsettled' };
  // Complete without finish and without error: an abort during upstream's wait to retry looks like this.
  if (exchange.finish === undefined) return { kind: 'aborted' };
  if (exchange.finish === 'tool-calls') {
    return stoppedByRejection(exchange) ? { kind: 'completed' } : { kind: 'unsettled' };
  }
  return exchange.text === '' && exchange.toolParts.length === 0 ? { kind: 'empty' } : { kind: 'completed' };
}

/**
 * A rejected permission or a dismissed question ends the loop with `finish: "tool-calls"` and nothing else;
 * only the tool's error text tells it from a run that was lost between two steps (OpenCode 1.18). A permission
 * that was rejected with a reason does not end it: its text goes on "… with the following feedback".
 */
const rejections = [
  'The user rejected permission to use this specific tool call.',
  'The user dismissed this question',
];

function stoppedByRejection(exchange: Exchange): boolean {
  const lastId = exchange.lastAssistant?.info.id;
  return exchange.toolParts.some(
    (part) =>
      part.messageId === lastId &&
      part.status === 'error' &&
      rejections.some((text) => part.error?.startsWith(text)),
  );
}

function failureOf(error: { name: string; message: string; statusCode?: number | undefined }): TurnFailure {
  return {
    reason: 'upstream_error',
    name: error.name,
    message: error.message,
    ...(error.statusCode === undefined ? {} : { statusCode: error.statusCode }),
  };
}
