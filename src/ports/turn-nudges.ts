/** Nudges from other processes: `changed` means "read the stored turn again". None is needed for correctness. */
export interface TurnNudges {
  listen(turnId: string, changed: () => void): () => void;
}
