import path from 'node:path';
import { lookup } from 'mrmime';
import { messageOf } from '../errors.ts';
import type { Exchange } from '../reply/exchange.ts';
import type { FileRef } from './ports.ts';
import type { PromptIds } from './turn-phase.ts';
import type { TurnRun } from './turn-run.ts';

/**
 * Attaches the files that the turn's tools wrote. Idempotent by name, so a second owner may run it again. A file
 * that cannot be attached is told as dropped; nothing here can fail the turn.
 */
export async function attachArtifacts(
  run: TurnRun,
  ids: PromptIds,
  exchange: Exchange,
): Promise<readonly FileRef[]> {
  const { deps, turn } = run;
  const dropped: string[] = [];
  await deps.tracer.span('turn.artifacts', {}, async () => {
    for (const file of exchange.toolArtifacts()) {
      if (file.content === undefined) continue;
      const filename = path.basename(file.path);
      try {
        const content = Buffer.from(file.content);
        const contentType = lookup(filename) ?? 'application/octet-stream';
        const { file: attached } = await deps.files.attach(turn.id, { filename, contentType, content });
        run.followers.add({ type: 'artifact', artifact: attached });
      } catch (error) {
        dropped.push(path.relative(ids.directory, file.path));
        deps.reporter.report(error, { action: 'turn.attach', turnId: turn.id });
        deps.tracer.event('opencode.artifacts.dropped', {
          'artifacts.count': 1,
          'artifacts.reason': messageOf(error).slice(0, 200),
        });
      }
    }
  });
  return run.persist(() => deps.files.list(turn.id), AbortSignal.timeout(30_000));
}
