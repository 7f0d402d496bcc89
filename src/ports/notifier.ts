/**
 * Hints from other processes that a turn has changed: read again what is stored. None is needed for correctness, and one
 * that is lost costs a poll's time.
 */
export interface TurnNotifier {
  /** Calls `changed` for that turn, until the returned function is called. */
  listen(turnId: string, changed: (change: TurnChange) => void): () => void;
}

/** `grown`: there is more of it, and that was not its end. `unknown`: anything, the end included: notifications may have been missed. */
export type TurnChange = 'grown' | 'ended' | 'unknown';

/** Hints about stored requests of people: cancel, answer. */
export interface ControlNotifier extends TurnNotifier {
  /** Throws what the connection throws. */
  notify(turnId: string): Promise<void>;
}
