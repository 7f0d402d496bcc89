/**
 * What one reading at upstream means. Pure. The status must have been read BEFORE the messages: a session that
 * was idle then adds nothing to the messages that were read after. `idle` events carry no result.
 */
import type { ReadOptions } from '../../ports/upstream.ts';
import type { Verdict } from '../../ports/verdict.ts';
import type { Exchange } from '../../reply/exchange.ts';
import { upstreamFailure } from '../../turn/failure.ts';
import type { TurnFailure } from '../../turn/stored-turn.ts';

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

export function judge(reading: Reading): Verdict {
  const { busy, childBusy = false } = reading;
  if (!busy) return meaning(reading);
  // Somebody else's run keeps the session busy: no lie.
  if (childBusy || reading.exchange.foreign.length > 0) return { kind: 'working' };
  const found = meaning({ exchange: reading.exchange, streamError: undefined });
  // A run between two steps, or within a compaction, is unsettled; what the loop does after a refusal takes a moment.
  return found.kind === 'unsettled' || found.kind === 'working' || found.kind === 'doubtful'
    ? { kind: 'working' }
    : { kind: 'doubtful', meaning: found };
}

/** After the 204 a session is not busy at once, and the first turn of a directory loads its plugins first. */
export const startGraceMs = 20_000;
/** A status that says busy although the messages say that all is over, and no idle was heard, has so long to change. */
const doubtMs = 10_000;
/** An abort of somebody else's: the stream tells soon after it when the whole instance was disposed. */
const abortedMs = 1_000;

/**
 * How long a verdict must at least stay as it is. Idle alone proves nothing: a run begins some time after its prompt was
 * accepted, and its last message is complete some time after the first idle.
 */
export function settleMsOf(verdict: Verdict, { exchange, idleSeen = false }: Reading): number {
  if (verdict.kind === 'aborted') return abortedMs;
  if (verdict.kind === 'doubtful') return idleSeen ? 0 : doubtMs;
  const failing = verdict.kind === 'unsettled' && verdict.failure !== undefined;
  return failing || exchange.begun ? 0 : startGraceMs;
}

/**
 * Whether a prompt that was posted again is still shown as it was: upstream accepts one before it rewrites the message, on a busy
 * machine seconds before (1.18.33), and what stands below it is the end of the run that was lost.
 */
export const isShownAsBefore = (
  { userMessage }: Exchange,
  { postedOver }: Pick<ReadOptions, 'postedOver'>,
): boolean => postedOver !== undefined && userMessage?.info.time.created === postedOver;

/** What an accepted prompt means whose run has not begun. */
export const notBegun = (failure: TurnFailure | undefined) =>
  ({
    verdict: { kind: 'unsettled', ...(failure ? { failure } : {}) },
    settleMs: failure ? 0 : startGraceMs,
  }) as const;

/** Whether an idle session's run has come to an end of its own, rather than been aborted or lost. */
export function hasEnded(exchange: Exchange): boolean {
  return ['completed', 'failed', 'empty'].includes(meaning({ exchange, streamError: undefined }).kind);
}

type Meaning = Exclude<Verdict, { kind: 'lost' }>;

/** Of an idle session. */
function meaning({ exchange, streamError }: Pick<Reading, 'exchange' | 'streamError'>): Meaning {
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
