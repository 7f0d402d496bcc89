import { Sandbox } from '../artifacts/sandbox.ts';
import { UploadedFilesPrompt } from '../artifacts/uploaded-files-prompt.ts';
import type { TurnRun } from '../run/turn-run.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'deps' | 'own' | 'signal' | 'submission' | 'turn'>;

/**
 * Copies the turn's uploads into the agent's `directory` and returns the text that tells of them. May run again: what
 * was copied is found under the same names, which are stored before the prompt, so that any owner knows them for
 * the user's own. Throws what UploadedFilesPrompt throws; MongoDB away is waited for.
 */
export async function deliverUploads(run: Run, directory: string): Promise<string> {
  const { turn, deps, signal } = run;
  const { uploads, userText: text } = turn;
  if (uploads.length === 0) return text;
  const sandbox = new Sandbox(directory);
  const files = () =>
    uploads.map(({ fileId, ...file }) => ({ ...file, content: deps.files.read(fileId, signal) }));
  const prompt = await run.own.persist(() =>
    UploadedFilesPrompt.copy({ text, sandbox, files: files() }, signal),
  );
  run.submission.keepUserFiles(prompt.sandboxFileNames.keys());
  await run.own.write({ run: { uploadNames: [...run.submission.userFiles] } });
  return prompt.text;
}
