import type { Attachments, FileRef } from './attachment.ts';
import { apparentName } from './attachment-names.ts';
import type { Transform } from './transform.ts';

/** An attachment that wears a transform's destination name and that the transform does not trust. */
export class Impostor {
  readonly file: FileRef;

  constructor(file: FileRef) {
    this.file = file;
  }

  static among(files: readonly FileRef[], transform: Transform): readonly Impostor[] {
    const name = apparentName(transform.destinationFilename);
    return files
      .filter((file) => apparentName(file.filename) === name && !transform.trusted(file))
      .map((file) => new Impostor(file));
  }

  /** Removes it with its bytes. False when somebody else was first. Throws the store's errors. */
  purge(message: Attachments, signal?: AbortSignal): Promise<boolean> {
    return message.remove(this.file.fileId, signal);
  }
}
