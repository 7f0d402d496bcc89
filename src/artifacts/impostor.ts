import type { Attachments, FileRef } from './attachment.ts';
import { apparentName } from './attachment-names.ts';
import type { Transform } from './transform.ts';

/** An attachment that wears a transform's destination name and that the transform does not trust. */
export class Impostor {
  readonly file: FileRef;

  constructor(file: FileRef) {
    this.file = file;
  }

  /** Whoever cannot be vouched for is one, whatever `isTrusted` had to say about it. */
  static async among(
    files: readonly FileRef[],
    transform: Transform,
    isTrusted: (file: FileRef) => Promise<boolean>,
  ): Promise<readonly Impostor[]> {
    const name = apparentName(transform.destinationFilename);
    const found: Impostor[] = [];
    for (const file of files)
      if (apparentName(file.filename) === name && !(await isTrusted(file))) found.push(new Impostor(file));
    return found;
  }

  /** Removes it with its bytes. False when somebody else was first. Throws the store's errors. */
  purge(message: Attachments, signal?: AbortSignal): Promise<boolean> {
    return message.remove(this.file.fileId, signal);
  }
}
