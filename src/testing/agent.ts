/**
 * What a test says for the agent of a scripted upstream. Every method throws the reason of an abort once the run was stopped, so
 * that the script ends with it.
 */

/** What a turn has asked the agent for. */
export interface AgentPrompt {
  readonly text: string;
  readonly sessionId: string;
  /** Where the agent works: a real directory; what the user sent along lies there. */
  readonly directory: string;
  readonly agent?: string;
  /** As the policy names it: `provider/model`. */
  readonly model?: string;
  readonly variant?: string;
  readonly system?: string;
}

export interface AgentCall {
  readonly input?: Readonly<Record<string, unknown>>;
  /** What the tool gives back. Default: an empty text. */
  readonly output?: string;
  /** In place of an output: the tool has failed with this. */
  readonly error?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** What rules are looked up by. Default: the tool's name, `edit` for those that change files. */
  readonly permission?: string;
  /** What the rules' patterns are compared with. Default: the command or the path of the input, else `*`. */
  readonly pattern?: string;
}

export interface AgentQuestion {
  readonly question: string;
  readonly header?: string;
  /** The labels that may be chosen. */
  readonly options: readonly string[];
  readonly multiple?: boolean;
}

export interface AgentFailure {
  readonly message: string;
  /** As OpenCode names its errors. Default `APIError`. */
  readonly name?: string;
  readonly statusCode?: number;
}

export interface Agent {
  /** Aborts when the run is stopped: a cancel, a limit. */
  readonly signal: AbortSignal;
  /** More of the reply's text, as one piece of the stream. */
  says(text: string): void;
  /** More of its reasoning. */
  thinks(text: string): void;
  /**
   * A call of a tool, as the policy's permissions have it: one that is denied fails, one that must be asked for waits for a person.
   * True when the tool was run. A person's refusal without a message ends the run, as on the server.
   */
  uses(tool: string, call?: AgentCall): Promise<boolean>;
  /** Writes a file into the agent's directory with the tool `write`. As `uses`. */
  writes(filename: string, content: string): Promise<boolean>;
  /** Asks a person, and resolves with the chosen labels, one list for each question. One that is rejected ends the run. */
  asks(...questions: readonly AgentQuestion[]): Promise<readonly (readonly string[])[]>;
  /** What the step costs that comes next, or is under way. */
  spends(usage: { readonly cost?: number; readonly input?: number; readonly output?: number }): void;
  /** Ends the run with an error of the model or the server. An error that the script throws does the same. */
  fails(failure: AgentFailure): never;
  /** Says nothing more and never ends by itself. */
  hangs(): Promise<never>;
}

/** What the agent does with one prompt; the reply is complete when it returns. */
export type AgentScript = (agent: Agent, prompt: AgentPrompt) => void | Promise<void>;

/** An OpenCode server that plays a script in place of a model. */
export interface ScriptedUpstream {
  /** What it was asked so far, in order. */
  readonly prompts: readonly AgentPrompt[];
  /** What the agent does with the prompts from now on. */
  script(script: AgentScript | string): void;
  /** It is away: every call fails, the event stream is broken, and what runs goes on unheard. */
  goAway(): void;
  comeBack(): void;
  /** It is restarted: what runs is lost, and no session is. */
  restart(): void;
  /** It has no session any more. */
  forgetSessions(): void;
}
