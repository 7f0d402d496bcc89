const KiB = 1024;
const MiB = 1024 * KiB;

/**
 * How many bytes of one turn are stored at most, field by field, as JSON text in UTF-8. The sum stays well below the
 * 16 MiB that MongoDB allows a document, whatever a model, its tools and its server say.
 */
export const byteBudget = {
  /** All parts together. */
  parts: 4 * MiB,
  /** The texts once more, as the answer. */
  text: 2 * MiB,
  reasoning: MiB,
  /** What is asked of people, and with `maxInputRequests` what they answer. */
  requests: 3 * MiB,
  /** The list; the files themselves are stored elsewhere. */
  artifacts: MiB,
  /** The policy's system text. */
  system: 256 * KiB,
  /** Failure, usage, ids, and whatever else has a bound of its own. */
  rest: 256 * KiB,
} as const;

/** One tool part, whole; one that is larger is cut harder. */
export const maxToolPartBytes = 128 * KiB;
/** One text or reasoning part. */
export const maxTextPartBytes = MiB;
/** What one request asks of a person. */
export const maxRequestBytes = 16 * KiB;
/** Requests of one turn, open or not. */
export const maxInputRequests = 500;
/** The message of a failure, of a retry, and of whatever else is one sentence as a rule. */
export const maxSentenceBytes = 4 * KiB;
