/** One request to the model: the message that it writes, and how often the server has begun it. */
interface Request {
  readonly steps: Set<string>;
  calledTool: boolean;
}

/**
 * The requests to the model that one session has made within a turn, counted as they begin and whatever they end
 * with, compactions included: each of its assistant messages is one, and each further `step-start` of a message is
 * one more (its connection was lost on the way). Told again, one counts once.
 */
export class ModelRequests {
  readonly #requests = new Map<string, Request>();
  readonly #askers = new Set<string>();
  #extra = 0;
  #idle = 0;

  get count(): number {
    return this.#requests.size + this.#extra;
  }

  /**
   * How many requests in a row have called no tool, the one under way included, since it was asked for something.
   * An answer is one, with a compaction it is three; more of them mean that the server goes round in a circle.
   */
  get withoutTool(): number {
    return this.#idle;
  }

  /** A message of the answer or of a compaction is there. True when that is news. */
  began(messageId: string): boolean {
    if (this.#requests.has(messageId)) return false;
    this.#requests.set(messageId, { steps: new Set(), calledTool: false });
    this.#idle += 1;
    return true;
  }

  /** The server has begun with the message, perhaps once more. True when that is one request more. */
  stepBegan(messageId: string, partId: string): boolean {
    const news = this.began(messageId);
    const { steps } = this.#requests.get(messageId) as Request;
    const again = steps.size > 0 && !steps.has(partId);
    steps.add(partId);
    if (again) {
      this.#extra += 1;
      this.#idle += 1;
    }
    return news || again;
  }

  calledTool(messageId: string): void {
    const request = this.#requests.get(messageId);
    if (!request || request.calledTool) return;
    request.calledTool = true;
    this.#idle = 0;
  }

  /** A sub-agent has been told something: what follows answers that. */
  asked(messageId: string): void {
    if (this.#askers.has(messageId)) return;
    this.#askers.add(messageId);
    this.#idle = 0;
  }
}
