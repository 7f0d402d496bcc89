import type { FileRef } from '../artifacts/attachment.ts';
import { numbered } from '../artifacts/filenames.ts';
import type { UploadedFile } from '../artifacts/uploaded-files-prompt.ts';
import type { FileStore } from '../ports/file-store.ts';

/**
 * Stores a user's files for a message that is not stored yet: a turn is at no time without its files. The same
 * name twice becomes two names. When one fails, none is left; when the process dies, the sweeper finds them.
 * Throws FileTooLargeError, ServiceUnavailableError, and what a content throws.
 */
export async function storeFiles(
  files: FileStore,
  messageId: string,
  uploads: readonly UploadedFile[],
): Promise<readonly FileRef[]> {
  const stored: FileRef[] = [];
  const taken = new Set<string>();
  try {
    for (const { filename, contentType, content } of uploads) {
      let name = filename;
      for (let number = 2; taken.has(name); number += 1) name = numbered(filename, number);
      taken.add(name);
      const metadata = { source: 'upload' };
      const { file } = await files.attach(messageId, { filename: name, contentType, content, metadata });
      stored.push(file);
    }
    return stored;
  } catch (error) {
    await removeFiles(files, stored).catch(() => undefined);
    throw error;
  }
}

export async function removeFiles(files: FileStore, uploads: readonly FileRef[]): Promise<void> {
  for (const { fileId } of uploads) await files.remove(fileId);
}
