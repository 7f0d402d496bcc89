import type { FileRef } from '../artifacts/attachment.ts';
import { numbered } from '../artifacts/filenames.ts';
import { Sandbox } from '../artifacts/sandbox.ts';
import { type UploadedFile, UploadedFilesPrompt } from '../artifacts/uploaded-files-prompt.ts';
import type { FileStore } from '../ports/file-store.ts';
import type { TurnRun } from './turn-run.ts';

/**
 * Stores a user's files for a message that is not stored yet: a turn is at no time without its files. The same
 * name twice becomes two names. When one fails, none is left; when the process dies, the sweeper finds them.
 * Throws FileTooLargeError, ServiceUnavailableError, and what a content throws.
 */
export async function storeUploads(
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
    await removeUploads(files, stored).catch(() => undefined);
    throw error;
  }
}

export async function removeUploads(files: FileStore, uploads: readonly FileRef[]): Promise<void> {
  for (const { fileId } of uploads) await files.remove(fileId);
}

/**
 * Copies the turn's uploads into the agent's `directory` and answers the text that tells of them. May run again: what
 * was copied is found under the same names, which are stored before the prompt, so that any owner knows them for
 * the user's own. Throws what UploadedFilesPrompt throws; MongoDB away is waited for.
 */
export async function deliverUploads(run: TurnRun, directory: string): Promise<string> {
  const { turn, deps, signal } = run;
  const { uploads, userText: text } = turn;
  if (uploads.length === 0) return text;
  const sandbox = new Sandbox(directory);
  const files = () =>
    uploads.map(({ fileId, ...file }) => ({ ...file, content: deps.files.read(fileId, signal) }));
  const prompt = await run.persist(() => UploadedFilesPrompt.copy({ text, sandbox, files: files() }, signal));
  run.uploadNames = new Set(prompt.sandboxFileNames.keys());
  await run.write({ run: { uploadNames: [...run.uploadNames] } });
  return prompt.text;
}
