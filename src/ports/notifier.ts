/**
 * Hints from other processes that a turn has changed: read again what is stored. None is needed for correctness, and one
 * that is lost costs a poll's time.
 */
export interface TurnNotifier {
  /** Calls `changed` for that turn, until the returned function is called. */
  listen(turnId: string, changed: () => void): () => void;
}

/** Hints about stored requests of people: cancel, answer. */
export interface ControlNotifier extends TurnNotifier {
  /** Throws what the connection throws. */
  notify(turnId: string): Promise<void>;
}
