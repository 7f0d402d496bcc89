import type { TurnFailure } from '../turn/stored-turn.ts';

/** What one reading at upstream means, whatever the version of the server that was read. */
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
   * Upstream says that it works, its messages say that all is over: they weigh more once that stays so. `meaning` is what
   * they mean.
   */
  | { readonly kind: 'doubtful'; readonly meaning: FinalVerdict }
  /** Idle and complete without a word: poll once more, then it counts as an empty answer. */
  | { readonly kind: 'empty' }
  /** The model or server ended it with an error. */
  | { readonly kind: 'failed'; readonly failure: TurnFailure }
  /** Aborted, and whoever reads this knows whether it was us. */
  | { readonly kind: 'aborted' }
  /** The server is known to have given the run up. */
  | { readonly kind: 'lost' };

export type FinalVerdict = Extract<
  Verdict,
  { kind: 'completed' | 'empty' | 'overtaken' | 'failed' | 'aborted' }
>;

/** Verdicts that only time makes final. */
export type OpenVerdict = Extract<
  Verdict,
  { kind: 'working' | 'unsettled' | 'empty' | 'aborted' | 'doubtful' }
>;
