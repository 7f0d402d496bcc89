/** Which of a client's requests gets an answer that its server has not given. */
export interface ReplyRule<Command, Reply> {
  /** The requests of which this is true. */
  readonly at: (command: Command) => boolean;
  /** Whether the server gets the request, and its answer is thrown away, or the request never arrives there. */
  readonly executed: boolean;
  /** What the client gets instead. */
  readonly reply: Reply;
  /** How many requests are answered so. Default 1. */
  readonly times?: number;
}

export interface PlacedRule<Command> {
  /** The requests that were answered by this rule. */
  readonly hits: readonly Command[];
}

/** The rules of one proxy, and what has passed it. */
export class ReplyRules<Command, Reply> {
  /** Every request since the start, in the order of its coming. May be emptied. */
  readonly commands: Command[] = [];
  #rules: { readonly rule: ReplyRule<Command, Reply>; readonly hits: Command[] }[] = [];

  /** Rules are asked in the order in which they were placed; the first that wants a request gets it. */
  replace(rule: ReplyRule<Command, Reply>): PlacedRule<Command> {
    const placed = { rule, hits: [] };
    this.#rules.push(placed);
    return placed;
  }

  /** Forgets every rule; all answers pass again. */
  clear(): void {
    this.#rules = [];
  }

  /** The rule that answers this request, if one does. */
  protected ruleFor(command: Command): ReplyRule<Command, Reply> | undefined {
    this.commands.push(command);
    const placed = this.#rules.find(({ rule, hits }) => hits.length < (rule.times ?? 1) && rule.at(command));
    placed?.hits.push(command);
    return placed?.rule;
  }
}
