import type { HostConfigFile } from '../artifacts/server-config-files.ts';
import type { Transform } from '../artifacts/transform.ts';
import { InvalidConfigError } from '../errors.ts';
import type { Exchange } from '../reply/exchange.ts';
import { checkPolicy, policyShape } from './check-policy.ts';
import type { AnyDocument, TurnConversation } from './conversation.ts';
import { limitsOf, type TurnLimits } from './limits.ts';
import type { TurnOutcome } from './outcome.ts';
import type { PermissionRule } from './permission-rule.ts';

/**
 * A product's rules, registered by name in the worker; jobs carry the name. All that can be checked without calling
 * anything is checked then. Functions may be async, get the conversation as it is stored at that moment and a signal that
 * aborts when their time is over (`hookTimeoutMs`) or the turn's is. One that is asked before the prompt and throws,
 * does not return in time, or returns what it may not ends the turn without a prompt (reason `policy_hook_failed`,
 * PolicyHookError); one that is told of the end is reported and changes nothing. A function that never gives the
 * event loop back (`while (true)`) stops its whole process: no limit can end it. `R` is the type of the conversations' documents,
 * which `work` of a connection with `conversations: Model<R>` fills in.
 */
export interface TurnPolicy<R = AnyDocument> {
  /** An agent that the server knows. An unknown one ends the turn with upstream's error. */
  readonly agent?: string;
  /** `provider/model`. Without it the server's default is used. */
  readonly model?: string;
  readonly variant?: string;
  /** Appended to the system prompt of this turn; at most 1 MiB. */
  readonly system?:
    | string
    | ((conversation: TurnConversation<R>, signal: AbortSignal) => string | Promise<string>);
  /**
   * Rules of each turn, whatever its session was minted under: asked for before every prompt, and appended upstream when
   * they have changed. Rules that say nothing of what the session's older ones decide get a new session, which has no
   * memory: begin with `{ permission: '*', pattern: '*', action }` where policies alternate. What cannot be brought about
   * ends the turn without a prompt (`policy_not_applied`). `ask` rules are not inherited by sub-agents, `deny` rules are.
   * A rule whose permission the server does not know is refused: it would protect nothing.
   */
  readonly permissions?:
    | readonly PermissionRule[]
    | ((
        conversation: TurnConversation<R>,
        signal: AbortSignal,
      ) => readonly PermissionRule[] | Promise<readonly PermissionRule[]>);
  /** Permissions that the server has from MCP servers and plugins; a pattern such as `exa_*` needs no mention. */
  readonly knownPermissions?: readonly string[];
  /**
   * Whether people may answer a permission with `always`. False by default, and then that answer is neither offered nor
   * taken: the server remembers it for the whole directory, so for every conversation that works there, and until its
   * instance ends (OpenCode 1.18.33).
   */
  readonly allowAlways?: boolean;
  /**
   * What a permission means that was given and that no person of ours gave: whoever has the server's password can give
   * one, the agent's own commands too, where they find it. `stop` (default): the run is aborted, and the turn ends as
   * `answered_elsewhere`. `report`: told to the reporter (AnsweredElsewhereError), and the turn goes on. `allow`: not told.
   * A question that was answered so is told at most. One that was asked and given while no event stream was live is seen
   * where what ran proves it: rules that ask for all of a permission, a tool of the server's own, a plain command, no
   * policy of the worker with `allowAlways`. One that the server did not ask for since somebody has told it `always` is not.
   */
  readonly answeredElsewhere?: 'stop' | 'report' | 'allow';
  /**
   * The agent's working directory: an absolute path below `directoryRoot`, so that no title and no `..` leads out of it.
   * Default: a folder of the sandbox root named after the conversation's id, or after a hash of one that is no ObjectId. Paths are compared as they are written; links
   * on the disk are not followed, since the server's disk may be another one. A session stays in the directory that it was
   * made in: another answer at a later turn gets the conversation a new session, which knows nothing of what was said
   * before. So let it depend on what stays, such as the id, not on a title. A turn that has a prompt stays where it is.
   */
  readonly directory?: (conversation: TurnConversation<R>, signal: AbortSignal) => string | Promise<string>;
  /** What `directory` stays below. Default: the sandbox root. `/` allows every directory, knowingly. */
  readonly directoryRoot?: string;
  /**
   * What is done with the server's own settings (`opencode.json`, `opencode.jsonc`, `.opencode`) that no host put into the
   * agent's directory, or above it up to `directoryRoot`: the server runs what they say with its own rights. Looked for
   * before each prompt, where this process sees the directory. `refuse` (default): the turn ends without a prompt
   * (`server_config_files`). `remove`: moved aside under another name and reported; below a folder of `hostConfigFiles`
   * refused. `report`: told only. With these three the agent's file tools may not write them either. `allow`: nothing is
   * looked at or denied.
   */
  readonly serverConfigFiles?: 'refuse' | 'remove' | 'report' | 'allow';
  /** Those that are the host's own, by their path relative to the agent's directory, and by content where a hash is given. */
  readonly hostConfigFiles?: readonly HostConfigFile[];
  readonly limits?: Partial<TurnLimits>;
  /** The server was restarted and lost the run: ask once more (default), or end with what is there. */
  readonly onUpstreamLost?: 'rerun' | 'fail';
  /** Rules that turn files of the agent into files that may be trusted, and guard their names. */
  readonly transforms?: readonly Transform[];
  /**
   * Whether files that no tool call names, and that lie in the agent's directory, are attached. Default `all`; with a
   * `directory` of the host's own `none`, since conversations may share it.
   */
  readonly defaultAttach?: 'all' | 'none';
  /** What people see when a turn ends without text. Default: a neutral sentence. */
  readonly fallbackText?: string;
  /** Called once, after the terminal state of a completed turn is durable. */
  readonly onFinalized?: (outcome: TurnOutcome, exchange: Exchange) => void | Promise<void>;
  /** Called once per turn by the worker that finished it, after the terminal state is durable. */
  readonly onTurnFinished?: (outcome: TurnOutcome) => void | Promise<void>;
}

/** A table of policies by name, for a module of its own: `export default { … } satisfies Policies<Trip>`. */
export type Policies<R = AnyDocument> = Readonly<Record<string, TurnPolicy<R>>>;

export interface CompiledPolicy
  extends Omit<
    TurnPolicy,
    'limits' | 'model' | 'fallbackText' | 'transforms' | 'defaultAttach' | 'allowAlways' | 'answeredElsewhere'
  > {
  readonly name: string;
  readonly limits: TurnLimits;
  readonly model?: { readonly providerID: string; readonly modelID: string };
  readonly fallbackText: string;
  readonly onUpstreamLost: 'rerun' | 'fail';
  readonly transforms: readonly Transform[];
  readonly defaultAttach: 'all' | 'none';
  readonly allowAlways: boolean;
  readonly serverConfigFiles: 'refuse' | 'remove' | 'report' | 'allow';
  readonly hostConfigFiles: readonly HostConfigFile[];
  readonly answeredElsewhere: 'stop' | 'report' | 'allow';
  /** It offers `always`, or another policy of its worker does: what was once said so in a directory holds there for all. */
  readonly alwaysOffered: boolean;
  /** The name of the limit that ends each of its turns before it does anything; none as a rule. */
  readonly ends?: string;
}

/** Checks a policy at registration. Throws InvalidConfigError that names the field. */
export function compilePolicy(name: string, given: TurnPolicy<never>): CompiledPolicy {
  // Whatever it is that the host says of its documents: its functions are called with those of its model.
  const policy = given as TurnPolicy;
  // A key of TurnPolicy that the check does not know does not compile.
  checkPolicy(name, policy, policyShape satisfies Record<keyof TurnPolicy, unknown>);
  const { limits, model, ...rest } = policy;
  return {
    onUpstreamLost: 'rerun',
    allowAlways: false,
    answeredElsewhere: 'stop',
    serverConfigFiles: 'refuse',
    hostConfigFiles: [],
    defaultAttach: policy.directory === undefined ? 'all' : 'none',
    fallbackText: 'The assistant could not finish this answer.',
    transforms: [],
    ...rest,
    name,
    limits: limitsOf(`policies.${name}.limits`, limits),
    alwaysOffered: policy.allowAlways === true,
    ...(model === undefined ? {} : { model: parseModel(name, model) }),
  };
}

/** `provider/model`; the model's own id may contain slashes. */
export function parseModel(name: string, model: string): { providerID: string; modelID: string } {
  const at = model.indexOf('/');
  if (at < 1 || at === model.length - 1) {
    throw new InvalidConfigError(`policies.${name}.model`, `"${model}" is not of the form provider/model`);
  }
  return { providerID: model.slice(0, at), modelID: model.slice(at + 1) };
}
