import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { FileStore } from '../ports/file-store.ts';
import type { TurnStore } from '../ports/turn-store.ts';
import type { Clock } from '../timing/clock.ts';

export interface OrphanFilesOptions {
  readonly files: FileStore;
  readonly store: TurnStore;
  readonly clock: Clock;
  readonly reporter: ErrorReporter;
}

/** Younger files may be waiting for the rest of their message's files; older ones were looked at before. */
const minAgeMs = 3_600_000;
const windowMs = 24 * 3_600_000;
const batch = 500;

/**
 * Removes files whose message was never stored, because their enqueuer died between the two. Returns how many
 * went; errors are reported per file.
 */
export async function discardOrphanFiles(options: OrphanFilesOptions): Promise<number> {
  const { files, store, clock, reporter } = options;
  const now = clock.now();
  const found = await files.stored({ from: now - windowMs, to: now - minAgeMs, limit: batch });
  if (found.length === 0) return 0;
  const known = await store.stored([...new Set(found.map(({ messageId }) => messageId))]);
  let removed = 0;
  for (const { fileId, messageId } of found) {
    if (known.has(messageId)) continue;
    try {
      if (await files.remove(fileId)) removed += 1;
    } catch (error) {
      reporter.report(error, { action: 'sweeper.upload', severity: 'warning', messageId });
    }
  }
  return removed;
}
