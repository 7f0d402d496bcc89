import { basename } from 'node:path/posix';
import { InvalidConfigError, messageOf, TransformError } from '../errors.ts';
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

export interface TransformRule {
  /** The file that the agent writes, relative to its directory. */
  readonly sourceFilename: string;
  /** The name under which the result is attached, and under which nothing else ever is. */
  readonly destinationFilename: string;
  readonly contentType: string;
  /** May the result be shown in the browser, on the page's own origin? Default false: it is a download. */
  readonly inline?: boolean;
  /** Default: the file's path is `sourceFilename`. */
  readonly appliesTo?: (file: AgentFile) => boolean;
  /**
   * Makes the trusted file of data that nobody vouches for: parse it, check it, escape it. A throw costs this
   * file only. `signal` aborts when the turn may wait no longer; what comes after that is not attached.
   */
  readonly render: (file: AgentFile, signal: AbortSignal) => Rendered | Promise<Rendered>;
  /** Is this attachment one of ours? Default: its metadata has this transform's stamp, which only `render` gives. */
  readonly trusted?: (attachment: FileRef) => boolean;
  /** Removes attachments that wear the destination's name and are not trusted. Default true; else they block it. */
  readonly purgeImpostors?: boolean;
}

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

  /** Throws InvalidConfigError for names that cannot work. */
  constructor(rule: TransformRule) {
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

  /** A rule that throws does not apply; the error is for the caller to report. */
  appliesTo(file: AgentFile): boolean {
    return this.#rule.appliesTo?.(file) ?? file.path === this.sourceFilename;
  }

  /** Throws TransformError for whatever the rule throws, and the signal's reason. */
  async render(file: AgentFile, signal: AbortSignal): Promise<Artifact> {
    const { contentType, inline = false } = this.#rule;
    const rendered = await unlessAborted(this.#call(file, signal), signal);
    if (typeof rendered?.content !== 'string' && !Buffer.isBuffer(rendered?.content)) {
      throw new TransformError(file.filename, 'render must answer { content: Buffer or string }');
    }
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

  /** A rule that throws trusts nothing. */
  trusted(attachment: FileRef): boolean {
    const byStamp = attachment.metadata[stamp.renderedBy] === this.destinationFilename;
    try {
      return this.#rule.trusted?.(attachment) ?? byStamp;
    } catch {
      return false;
    }
  }

  async #call(file: AgentFile, signal: AbortSignal): Promise<Rendered> {
    try {
      return await this.#rule.render(file, signal);
    } catch (cause) {
      if (cause instanceof TransformError) throw cause;
      throw new TransformError(file.filename, messageOf(cause), { cause });
    }
  }
}

function checkName(field: string, name: string): void {
  const fine = name !== '' && !name.includes('/') && apparentName(name) !== '' && !name.includes('\0');
  if (!fine) throw new InvalidConfigError(`transform.${field}`, `${JSON.stringify(name)} is no file name`);
}
