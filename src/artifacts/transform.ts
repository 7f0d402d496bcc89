import { basename } from 'node:path/posix';
import { z } from 'zod';
import { checkConfig, functionOf } from '../checking/check-config.ts';
import { InvalidConfigError, messageOf, TransformError } from '../errors.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import type { AgentFile } from './agent-file.ts';
import { Artifact } from './artifact.ts';
import type { FileRef } from './attachment.ts';
import { apparentName } from './attachment-names.ts';

/** What a host's rule makes of an agent's file. */
export interface Rendered {
  readonly content: Buffer | string;
  /** Default: by the destination's name. */
  readonly contentType?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/**
 * Each function may be async, and is called under the policy's `hookTimeoutMs`; `signal` aborts when that is over. One
 * that throws, takes too long or returns rubbish costs its file and is reported; the turn goes on.
 */
export interface TransformRule {
  /** The file that the agent writes, relative to its directory. */
  readonly sourceFilename: string;
  /** The name under which the result is attached, and under which nothing else ever is. */
  readonly destinationFilename: string;
  readonly contentType: string;
  /** May the result be shown in the browser, on the page's own origin? Default false: it is a download. */
  readonly inline?: boolean;
  /** Default: the file's path is `sourceFilename`. */
  readonly appliesTo?: (file: AgentFile, signal: AbortSignal) => boolean | Promise<boolean>;
  /**
   * Makes the trusted file of data that nobody vouches for: parse it, check it, escape it. A throw costs this
   * file only. `signal` aborts when the turn may wait no longer; what comes after that is not attached.
   */
  readonly render: (file: AgentFile, signal: AbortSignal) => Rendered | Promise<Rendered>;
  /** Is this attachment one of ours? Default: its metadata has this transform's stamp, which only `render` gives. */
  readonly trusted?: (attachment: FileRef, signal: AbortSignal) => boolean | Promise<boolean>;
  /** Removes attachments that wear the destination's name and are not trusted. Default true; else they block it. */
  readonly purgeImpostors?: boolean;
}

/** How long one call of the host's code may take, and what ends it before that. */
export interface CallBounds {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** The largest metadata of a rendered file, as JSON. */
const maxMetadataLength = 16_384;

const ruleSchema = z.strictObject({
  sourceFilename: z.string(),
  destinationFilename: z.string(),
  contentType: z.string().min(1, 'must not be empty').max(200),
  inline: z.boolean().optional(),
  appliesTo: functionOf('(file) => boolean').optional(),
  render: functionOf('(file) => { content }'),
  trusted: functionOf('(attachment) => boolean').optional(),
  purgeImpostors: z.boolean().optional(),
} satisfies Record<keyof TransformRule, z.ZodType>);

/** Keys of `FileRef.metadata` that this library writes itself; what a rule gives under them is overruled. */
export const stamp = { renderedBy: 'renderedBy', inline: 'inline', source: 'source', path: 'path' } as const;

/**
 * The boundary of trust: in goes what the agent wrote, which is data; out comes what the host rendered, which
 * may be served as the host's own. Everything that wears the destination's name without coming out of here is
 * an impostor.
 */
export class Transform {
  readonly sourceFilename: string;
  readonly destinationFilename: string;
  readonly purgeImpostors: boolean;
  readonly #rule: TransformRule;
  readonly #owned: ReadonlySet<string>;

  /** Throws InvalidConfigError for names that cannot work, unknown keys and values that make no sense. */
  constructor(rule: TransformRule) {
    checkConfig(ruleSchema, rule, 'transform');
    const { sourceFilename, destinationFilename } = rule;
    checkName('destinationFilename', destinationFilename);
    checkName('sourceFilename', basename(sourceFilename));
    this.#rule = rule;
    this.sourceFilename = sourceFilename;
    this.destinationFilename = destinationFilename;
    this.purgeImpostors = rule.purgeImpostors ?? true;
    this.#owned = new Set([basename(sourceFilename), destinationFilename].map(apparentName));
    if (this.#owned.size < 2) {
      throw new InvalidConfigError('transform', `"${destinationFilename}" looks the same as its own source`);
    }
  }

  /** What the names of files that belong to this transform look like: never attached as the agent wrote them. */
  get ownedFilenames(): ReadonlySet<string> {
    return this.#owned;
  }

  /** Whether that name looks like one of this transform's two. */
  owns(filename: string): boolean {
    return this.#owned.has(apparentName(filename));
  }

  /** Throws TransformError for a rule that throws, takes too long or returns no boolean, and the signal's reason. */
  async appliesTo(file: AgentFile, bounds: CallBounds): Promise<boolean> {
    const { appliesTo } = this.#rule;
    if (!appliesTo) return file.path === this.sourceFilename;
    const answer = await this.#call('appliesTo', file.filename, bounds, (signal) => appliesTo(file, signal));
    return this.#yesOrNo('appliesTo', file.filename, answer);
  }

  /** Throws TransformError for whatever the rule throws or takes too long for, and the signal's reason. */
  async render(file: AgentFile, bounds: CallBounds): Promise<Artifact> {
    const { contentType, inline = false, render } = this.#rule;
    const answer = await this.#call('render', file.filename, bounds, (signal) => render(file, signal));
    const rendered = checkRendered(this.#name('render'), file.filename, answer);
    return new Artifact({
      filename: this.destinationFilename,
      content: Buffer.from(rendered.content),
      contentType: rendered.contentType ?? contentType,
      metadata: {
        ...rendered.metadata,
        [stamp.source]: 'transform',
        [stamp.renderedBy]: this.destinationFilename,
        [stamp.path]: file.path,
        [stamp.inline]: inline,
      },
    });
  }

  /** Only a plain `true` is trust: not a promise of one, and nothing that is merely not false. Throws as `appliesTo`. */
  async trusted(attachment: FileRef, bounds: CallBounds): Promise<boolean> {
    const { trusted } = this.#rule;
    if (!trusted) return attachment.metadata[stamp.renderedBy] === this.destinationFilename;
    const { filename } = attachment;
    const answer = await this.#call('trusted', filename, bounds, (signal) => trusted(attachment, signal));
    return this.#yesOrNo('trusted', filename, answer);
  }

  #name(hook: string): string {
    return `${hook} of the transform to ${JSON.stringify(this.destinationFilename)}`;
  }

  #yesOrNo(hook: string, filename: string, answer: unknown): boolean {
    if (typeof answer === 'boolean') return answer;
    throw new TransformError(filename, `${this.#name(hook)} must answer true or false`);
  }

  async #call<T>(
    hook: string,
    filename: string,
    { signal, timeoutMs }: CallBounds,
    fn: (limit: AbortSignal) => T | Promise<T>,
  ): Promise<T> {
    return within(
      timeoutMs,
      async (limit) => {
        try {
          return await unlessAborted(Promise.resolve(limit).then(fn), limit);
        } catch (cause) {
          if (signal.aborted) throw signal.reason;
          if (cause instanceof TransformError) throw cause;
          const problem = limit.aborted ? `takes more than ${timeoutMs} ms` : messageOf(cause);
          throw new TransformError(filename, `${this.#name(hook)}: ${problem}`, { cause });
        }
      },
      signal,
    );
  }
}

/** What a rule has answered, as far as it can be believed. */
function checkRendered(name: string, filename: string, answer: unknown): Rendered {
  const { content, contentType, metadata } = (answer ?? {}) as { [K in keyof Rendered]: unknown };
  const problem = (what: string, cause?: unknown) =>
    new TransformError(filename, `${name} must answer ${what}`, cause === undefined ? {} : { cause });
  if (typeof content !== 'string' && !Buffer.isBuffer(content))
    throw problem('{ content: Buffer or string }');
  if (contentType !== undefined && typeof contentType !== 'string')
    throw problem('a contentType that is text');
  try {
    const json: string | undefined = JSON.stringify(metadata ?? {});
    if (json?.[0] === '{' && json.length <= maxMetadataLength) return answer as Rendered;
  } catch (cause) {
    throw problem('metadata that can be written as JSON', cause);
  }
  throw problem(`metadata that is an object of at most ${maxMetadataLength} characters as JSON`);
}

function checkName(field: string, name: string): void {
  const fine = name !== '' && !name.includes('/') && apparentName(name) !== '' && !name.includes('\0');
  if (!fine) throw new InvalidConfigError(`transform.${field}`, `${JSON.stringify(name)} is no file name`);
}
