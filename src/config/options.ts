import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Logger } from '../instrumentation/logger.ts';
import type { Meter } from '../instrumentation/meter.ts';
import type { Tracer } from '../instrumentation/tracer.ts';
import type { ReadyConversation } from '../turn/conversation.ts';
import type { RedisServerOptions } from './redis-address.ts';

export interface OpenCodeServerOptions {
  /** `http://host:port`; user and password may stand in it. */
  readonly url: string;
  readonly username?: string;
  readonly password?: string;
}

/**
 * A Mongoose model, of the library's Mongoose or of a host's own copy, in another version even: as much of its type as says of
 * what type its documents are.
 */
export interface ConversationModel<R> {
  readonly modelName: string;
  readonly collection: { readonly collectionName: string };
  readonly db: { close(): Promise<unknown> };
  castObject(value: Record<string, unknown>): R;
}

/**
 * What `connect` needs. Only the three addresses have no default. `R` is the type of the documents of `conversations`; it
 * reaches the functions of policies and what `enqueue` takes for a conversation.
 */
export interface TurnsOptions<R = ReadyConversation> {
  /** `redis://host:port`, or ioredis' options that say the same. Its `maxmemory-policy` must be `noeviction`. */
  readonly redis: string | RedisServerOptions;
  /** `mongodb://host:port/database`. */
  readonly mongo: string;
  /** One server, or several: new sessions go to the first, each session stays where it was minted. */
  readonly opencode: OpenCodeServerOptions | readonly OpenCodeServerOptions[];
  /**
   * Model of the conversations that own sessions; it must have the `opencodeSession` plugin, its `_id` may be an ObjectId, String,
   * Number, UUID or BigInt, and its connection is the host's to open. The same in every process: turns of another model's conversations are left alone. Default: Conversation.
   */
  readonly conversations?: ConversationModel<R>;
  /** Prefix of every Redis key. Default `opencode-turns`. */
  readonly prefix?: string;
  /** What the names of our collections begin with: messages, conversations, artifacts. Default `opencode_turns_`. */
  readonly collectionPrefix?: string;
  /** Absolute folder; a conversation's agent works in the folder of it that is named after the conversation's id, or after a hash of an id that is no ObjectId. */
  readonly sandboxRoot?: string;
  /** Default: OpenTelemetry's API where it is installed. */
  readonly tracer?: Tracer;
  /** Where figures go. Default: OpenTelemetry's API where it is installed, `noopMeter` else. */
  readonly meter?: Meter;
  /** Where errors go that were handled. Default: lines of `logger`. */
  readonly reporter?: ErrorReporter;
  /** Where lines go: one for each finished turn, and each error unless there is a `reporter`. Default: stderr, for people. */
  readonly logger?: Logger;
  /** Bound of connecting to each service. Default 5,000. */
  readonly connectTimeoutMs?: number;
  /** Lease of the conversation lock around a session's mint. Default 10,000. */
  readonly lockLeaseMs?: number;
}
