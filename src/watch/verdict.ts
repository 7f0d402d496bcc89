/**
 * What one reading at upstream means. Pure. The status must have been read BEFORE the messages: a session that
 * was idle then adds nothing to the messages that were read after. `idle` events carry no result.
 */
import type { Exchange } from '../reply/exchange.ts';
import { upstreamFailure } from '../turn/failure.ts';
import type { TurnFailure } from '../turn/stored-turn.ts';

export interface Reading {
  readonly exchange: Exchange;
  /** The session, or one of its children, is busy or waits to retry its provider. */
  readonly busy: boolean;
  /** A sub-agent is busy, and its messages don't say otherwise. */
  readonly childBusy?: boolean;
  /** The stream told that the session became idle, and not that it works since. */
  readonly idleSeen?: boolean;
  /** The last `session.error` on the stream that may be this turn's, if any. */
  readonly streamError: TurnFailure | undefined;
}

export type Verdict =
  | { readonly kind: 'working' }
  /**
   * Upstream does nothing, yet the exchange is not final: poll again; if it stays so, the run is lost, or has failed
   * with `failure` before it began. A session's error alone is no verdict: it names no prompt.
   */
  | { readonly kind: 'unsettled'; readonly failure?: TurnFailure }
  | { readonly kind: 'completed' }
  /** Somebody else prompted the session, and upstream went on with that alone. */
  | { readonly kind: 'overtaken' }
  /**
   * Upstream's status says busy, its messages say that all is over: they weigh more once that stays so. `meaning` is what
   * they mean.
   */
  | { readonly kind: 'doubtful'; readonly meaning: FinalVerdict; readonly idleSeen: boolean }
  /** Idle and complete without a word: poll once more, then it counts as an empty answer. */
  | { readonly kind: 'empty' }
  /** The model or server ended it with an error. */
  | { readonly kind: 'failed'; readonly failure: TurnFailure }
  /** Aborted, and whoever reads this knows whether it was us. */
  | { readonly kind: 'aborted' };

export type FinalVerdict = Extract<
  Verdict,
  { kind: 'completed' | 'empty' | 'overtaken' | 'failed' | 'aborted' }
>;

export function judge(reading: Reading): Verdict {
  const { busy, childBusy = false, idleSeen = false } = reading;
  if (!busy) return meaning(reading);
  // Somebody else's run keeps the session busy: no lie.
  if (childBusy || reading.exchange.foreign.length > 0) return { kind: 'working' };
  const found = meaning({ exchange: reading.exchange, streamError: undefined });
  // A run between two steps, or within a compaction, is unsettled; what the loop does after a refusal takes a moment.
  return found.kind === 'unsettled' || found.kind === 'working' || found.kind === 'doubtful'
    ? { kind: 'working' }
    : { kind: 'doubtful', meaning: found, idleSeen };
}

/** Of an idle session. */
function meaning({ exchange, streamError }: Pick<Reading, 'exchange' | 'streamError'>): Verdict {
  const last = exchange.lastAssistant;
  if (last === undefined) {
    return streamError ? { kind: 'unsettled', failure: streamError } : { kind: 'unsettled' };
  }
  const aborted = exchange.error?.name === 'MessageAbortedError';
  // Posted again since: the run that is to come has not begun.
  if (aborted) return { kind: exchange.begun ? 'aborted' : 'unsettled' };
  if (exchange.error) return { kind: 'failed', failure: upstreamFailure(exchange.error) };
  if (exchange.inProgress) return { kind: 'unsettled' };
  // Complete without finish and without error: an abort during upstream's wait to retry looks like this.
  if (exchange.finish === undefined) return { kind: 'aborted' };
  if (exchange.finish === 'tool-calls') {
    if (stoppedByRejection(exchange)) return { kind: 'completed' };
    return { kind: exchange.overtaken ? 'overtaken' : 'unsettled' };
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
