import { OwnershipLostError, ServiceUnavailableError, TransformError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Exchange } from '../reply/exchange.ts';
import { within } from '../timing/time-limit.ts';
import type { AgentFile, FileSources } from './agent-file.ts';
import { Artifact } from './artifact.ts';
import type { Attachments, FileRef } from './attachment.ts';
import { attachmentNames } from './attachment-names.ts';
import { DropCount, type DroppedFiles, dropReason } from './dropped-files.ts';
import { Impostor } from './impostor.ts';
import type { Sandbox } from './sandbox.ts';
import { type CallBounds, stamp, type Transform } from './transform.ts';
import { sandboxFiles, toolFiles } from './turn-files.ts';

export interface MessageArtifactsOptions {
  readonly message: Attachments;
  readonly transforms?: readonly Transform[];
  /** Whether files that no tool call names are attached as they are. Default `all`. */
  readonly defaultAttach?: 'all' | 'none';
  readonly reporter: ErrorReporter;
  /** Told of each file that the message holds, newly attached or not. */
  readonly onAttached?: (file: FileRef) => void;
  /** Files taken from the sandbox, what transforms want apart. Default 20. */
  readonly maxSandboxFiles?: number;
  /** For all files together; what is not attached by then is dropped. Default 2 minutes. */
  readonly timeLimitMs?: number;
  /** For one call of a transform's rule. Default 30 s. */
  readonly hookTimeoutMs?: number;
}

export interface AttachInput {
  readonly exchange: Exchange;
  readonly sandbox: Sandbox;
  /** Unix ms by the clock of the server: what was modified before is not of this turn. */
  readonly cutoff: number;
  /** Names in the sandbox of what the user sent along. */
  readonly uploadEcho?: ReadonlySet<string>;
  readonly readUpstream: FileSources['readUpstream'];
}

/**
 * Attaches what came out of a turn to its message: the files that tool calls wrote or changed first, then what
 * else is new in the sandbox. A file that a transform applies to is rendered by it; a file that wears a name of a
 * transform without coming out of it is never attached. May run again, by another worker too: what is attached
 * stays as it is.
 *
 * One file's failure is reported and counted, and the others go on; only the store being away, the lost lease
 * and an abort end it.
 */
export class MessageArtifacts {
  readonly #options: MessageArtifactsOptions;
  readonly #transforms: readonly Transform[];
  readonly #attached: FileRef[] = [];
  readonly #dropped = new DropCount();
  readonly #applying = new Map<AgentFile, Transform | undefined>();

  constructor(options: MessageArtifactsOptions) {
    this.#options = options;
    this.#transforms = options.transforms ?? [];
  }

  /** Throws ServiceUnavailableError, OwnershipLostError and the signal's reason. To be called once. */
  async attachFrom(
    input: AttachInput,
    signal: AbortSignal,
  ): Promise<{ attached: readonly FileRef[]; dropped: readonly DroppedFiles[] }> {
    const { timeLimitMs = 120_000 } = this.#options;
    await within(timeLimitMs, (limit) => this.#attachAll(input, limit, signal), signal);
    return { attached: this.#attached, dropped: this.#dropped.all };
  }

  /** `limit` costs the files that are left, `signal` ends it all. */
  async #attachAll(input: AttachInput, limit: AbortSignal, signal: AbortSignal): Promise<void> {
    const files = await this.#collect(input, limit);
    signal.throwIfAborted();
    const names = attachmentNames(files.map(({ path }) => path));
    for (const file of files) {
      if (limit.aborted) this.#dropped.add('out_of_time', file.path);
      else await this.#attach(file, names.get(file.path) ?? file.filename, limit);
      signal.throwIfAborted();
    }
  }

  async #collect(input: AttachInput, signal: AbortSignal): Promise<readonly AgentFile[]> {
    const { exchange, sandbox, cutoff, readUpstream, uploadEcho = new Set<string>() } = input;
    const { defaultAttach = 'all', maxSandboxFiles = 20 } = this.#options;
    const sources = { sandbox, readUpstream };
    const named = await toolFiles(exchange.toolArtifacts(), sources, this.#dropped);
    const scan = {
      cutoff,
      uploadEcho,
      known: new Set(named.map(({ path }) => path)),
      wanted: async (file: AgentFile) => (await this.#transformOf(file, signal)) !== undefined,
      maxOthers: defaultAttach === 'all' ? maxSandboxFiles : 0,
    };
    try {
      return [...named, ...(await sandboxFiles(sources, scan, this.#dropped, signal))];
    } catch (error) {
      this.#report(error, 'scan');
      this.#dropped.addMany(dropReason(error), 1);
      return named;
    }
  }

  async #attach(file: AgentFile, name: string, signal: AbortSignal): Promise<void> {
    const reserved = this.#transforms.some((each) => each.owns(file.filename) || each.owns(name));
    try {
      const transform = await this.#transformOf(file, signal);
      if (transform) await this.#attachRendered(transform, file, signal);
      else if (reserved) this.#dropped.add('reserved_name', file.path);
      else await this.#attachAsItIs(file, name, signal);
    } catch (error) {
      if (error instanceof ServiceUnavailableError || error instanceof OwnershipLostError) throw error;
      this.#drop(error, file, signal);
    }
  }

  async #attachAsItIs(file: AgentFile, filename: string, signal: AbortSignal): Promise<void> {
    const content = await this.#read(file, signal);
    if (!content) return;
    const { contentType, source, path } = file;
    const metadata = { [stamp.source]: source, [stamp.path]: path };
    const artifact = new Artifact({ filename, content, contentType, metadata });
    const { file: held } = await artifact.attachTo(this.#options.message, signal);
    this.#hold(held);
  }

  /** The one who wears the name goes first; if another comes in between, it goes too, up to the bound. */
  async #attachRendered(transform: Transform, file: AgentFile, signal: AbortSignal): Promise<void> {
    const { message } = this.#options;
    const artifact = await transform.render(file, this.#bounds(signal));
    for (let tries = 0; tries < 3; tries += 1) {
      await this.#purge(transform, signal);
      const { file: held } = await artifact.attachTo(message, signal);
      if (await this.#trusts(transform, held, signal)) return this.#hold(held);
      if (!transform.purgeImpostors) break;
    }
    await this.#purge(transform, signal);
    this.#dropped.add('name_taken', file.path);
  }

  async #purge(transform: Transform, signal: AbortSignal): Promise<void> {
    if (!transform.purgeImpostors) return;
    const { message } = this.#options;
    const isTrusted = (file: FileRef) => this.#trusts(transform, file, signal);
    for (const impostor of await Impostor.among(await message.list(signal), transform, isTrusted))
      await impostor.purge(message, signal);
  }

  /** Undefined, and dropped, when it cannot be read: an upstream that is away costs the file and not the turn. */
  async #read(file: AgentFile, signal: AbortSignal): Promise<Buffer | undefined> {
    try {
      return await file.content(signal);
    } catch (error) {
      this.#drop(error, file, signal);
      return undefined;
    }
  }

  #hold(file: FileRef): void {
    this.#attached.push(file);
    this.#options.onAttached?.(file);
  }

  #drop(error: unknown, { path }: AgentFile, signal: AbortSignal): void {
    this.#dropped.add(signal.aborted ? 'out_of_time' : dropReason(error), path);
    this.#report(error, error instanceof TransformError ? 'transform' : 'file');
  }

  #report(error: unknown, what: string): void {
    this.#options.reporter.report(error, { action: `artifacts.${what}`, severity: 'warning' });
  }

  #bounds(signal: AbortSignal): CallBounds {
    return { signal, timeoutMs: this.#options.hookTimeoutMs ?? 30_000 };
  }

  /** A rule that cannot say is reported, and trusts nothing. */
  async #trusts(transform: Transform, file: FileRef, signal: AbortSignal): Promise<boolean> {
    try {
      return await transform.trusted(file, this.#bounds(signal));
    } catch (error) {
      signal.throwIfAborted();
      this.#report(error, 'transform');
      return false;
    }
  }

  /** Asked once per file. A rule that cannot say is reported, and does not apply. */
  async #transformOf(file: AgentFile, signal: AbortSignal): Promise<Transform | undefined> {
    if (!this.#applying.has(file)) this.#applying.set(file, await this.#findTransform(file, signal));
    return this.#applying.get(file);
  }

  async #findTransform(file: AgentFile, signal: AbortSignal): Promise<Transform | undefined> {
    for (const transform of this.#transforms) {
      try {
        if (await transform.appliesTo(file, this.#bounds(signal))) return transform;
      } catch (error) {
        signal.throwIfAborted();
        this.#report(error, 'transform');
      }
    }
    return undefined;
  }
}
