import { InvalidInputError } from '../errors.ts';
import type { FileContent } from './content-pieces.ts';
import { contentTypeOf, unknownContentType } from './content-type.ts';
import { quoted, sandboxFilename } from './filenames.ts';
import type { Sandbox } from './sandbox.ts';
import { SandboxUpload } from './sandbox-upload.ts';

/** A user's file. Name and type are what the user's browser said. */
export interface UploadedFile {
  readonly filename: string;
  readonly contentType: string;
  readonly content: FileContent;
}

export interface UploadedFiles {
  /** What the user wrote. */
  readonly text: string;
  readonly files: readonly UploadedFile[];
  readonly sandbox: Sandbox;
}

interface Copied {
  readonly original: string;
  readonly name: string;
  readonly declaredType: string;
  readonly bytes: number;
}

/** More files than this are refused; each is a line of the prompt. */
const maxFiles = 200;

/**
 * A user's files, copied into the sandbox, and the prompt that tells the agent what it will find there. Names and
 * types come from outside: the files get safe names, and the text shows what was given so that it stays one line.
 */
export class UploadedFilesPrompt {
  readonly #text: string;
  readonly #copied: readonly Copied[];

  private constructor(text: string, copied: readonly Copied[]) {
    this.#text = text;
    this.#copied = copied;
  }

  /**
   * Copies all files, or throws: InvalidInputError for too many, UnsafeFileError for a name that leads out of the
   * sandbox (both before anything is copied), FileTooLargeError above the sandbox's `maxFileBytes`,
   * IllegalStateError without a sandbox, the signal's reason, what a content throws, the file system's errors.
   * No file is ever there in part. Those copied before the error stay, and calling again with the same files
   * finds them under the same names: two workers may do it at once.
   */
  static async copy(
    { text, files, sandbox }: UploadedFiles,
    signal?: AbortSignal,
  ): Promise<UploadedFilesPrompt> {
    if (files.length > maxFiles) throw new InvalidInputError('files', `at most ${maxFiles} at once`);
    const named = files.map(({ filename, contentType, content }) => ({
      original: filename,
      name: sandboxFilename(filename),
      content,
      declaredType: contentType,
    }));
    if (named.length === 0) return new UploadedFilesPrompt(text, []);
    const upload = await SandboxUpload.into(sandbox);
    const taken = new Set<string>();
    const copied: Copied[] = [];
    for (const file of named) {
      // By the lower-case name, since a.txt and A.txt are one file on some systems.
      const isFree = (candidate: string) => !taken.has(candidate.toLowerCase());
      const { name, bytes } = await upload.add(file, isFree, signal);
      taken.add(name.toLowerCase());
      copied.push({ original: file.original, name, declaredType: file.declaredType, bytes });
    }
    return new UploadedFilesPrompt(text, copied);
  }

  /** The user's text, and a line for each file. */
  get text(): string {
    if (this.#copied.length === 0) return this.#text;
    const lines = this.#copied.map(
      ({ original, name, declaredType, bytes }) =>
        `- ${quoted(original)} is ${name} (${typeText(name, declaredType)}, ${bytes} bytes)`,
    );
    const told = ['Files from the user, in the working directory:', ...lines].join('\n');
    return this.#text === '' ? told : `${this.#text}\n\n${told}`;
  }

  /** The names in the sandbox, each with the name that the user gave. */
  get sandboxFileNames(): ReadonlyMap<string, string> {
    return new Map(this.#copied.map(({ name, original }) => [name, original]));
  }
}

/** What the name says, and what was declared when that says something else. */
function typeText(name: string, declaredType: string): string {
  const byName = contentTypeOf(name);
  const declared = /^[\w.+-]{1,60}\/[\w.+-]{1,60}(?=\s*(;|$))/.exec(declaredType)?.[0].toLowerCase();
  if (declared === undefined || declared === unknownContentType || declared === byName) return byName;
  return byName === unknownContentType
    ? `declared as ${declared}`
    : `${byName} by its name, declared as ${declared}`;
}
