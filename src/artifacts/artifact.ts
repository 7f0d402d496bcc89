import { isDeepStrictEqual } from 'node:util';
import type { Attachments, FileRef } from './attachment.ts';

/**
 * A file that came out of a turn: a name, bytes, what they are, and where they came from. A value: two with the
 * same name, bytes, type and metadata are equal. Does not know how its bytes were obtained, nor whether they
 * may be trusted; `metadata` says what is known of that.
 */
export class Artifact {
  readonly filename: string;
  readonly content: Buffer;
  readonly contentType: string;
  readonly metadata: Readonly<Record<string, unknown>>;

  constructor(file: {
    readonly filename: string;
    readonly content: Buffer;
    readonly contentType: string;
    readonly metadata?: Readonly<Record<string, unknown>>;
  }) {
    this.filename = file.filename;
    this.content = file.content;
    this.contentType = file.contentType;
    this.metadata = file.metadata ?? {};
  }

  equals(other: Artifact): boolean {
    return (
      this.filename === other.filename &&
      this.contentType === other.contentType &&
      this.content.equals(other.content) &&
      isDeepStrictEqual(this.metadata, other.metadata)
    );
  }

  /**
   * Idempotent by filename: `attached` is true for the one call that did it, also when two workers try at once;
   * `file` is what the message holds under that name afterwards. Throws what `Attachments.attach` throws.
   *
   * @internal
   */
  attachTo(message: Attachments, signal?: AbortSignal): Promise<{ attached: boolean; file: FileRef }> {
    return message.attach(this, signal);
  }
}
