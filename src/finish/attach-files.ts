import type { Attachments, FileRef } from '../artifacts/attachment.ts';
import type { DroppedFiles } from '../artifacts/dropped-files.ts';
import { MessageArtifacts } from '../artifacts/message-artifacts.ts';
import { Sandbox } from '../artifacts/sandbox.ts';
import { mayPass } from '../errors.ts';
import { printable } from '../instrumentation/printable.ts';
import type { Exchange } from '../reply/exchange.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';
import type { PromptIds } from '../turn/phase.ts';

/** What of a run is touched here. */
type Run = Pick<
  TurnRun,
  'deps' | 'letGo' | 'live' | 'own' | 'policy' | 'startedAt' | 'submission' | 'turn' | 'upstream'
>;

/** How long one call waits for a database that is away. */
const storeMs = 30_000;
/** How long one file is asked for that only the server has. */
const readMs = 30_000;
const readRetry = { firstMs: 100, maxMs: 2_000, again: mayPass };

/**
 * Attaches the files that came out of a completed turn and returns what the message holds. `begin` resolves before
 * anything is changed, and is not called when there is nothing to attach. Idempotent by name, so a second owner may
 * run it again. What cannot be attached is told as dropped; only a database that stays away, and a worker that must
 * let go, end it: ServiceUnavailableError, OwnershipLostError, the reason of `run.letGo`.
 */
export async function attachArtifacts(
  run: Run,
  ids: PromptIds,
  exchange: Exchange,
  begin: () => Promise<void>,
): Promise<readonly FileRef[]> {
  const { deps, policy } = run;
  const { followers } = run.live;
  await deps.tracer.span('turn.artifacts', {}, async () => {
    const artifacts = new MessageArtifacts({
      message: attachmentsOf(run, begin),
      transforms: policy.transforms,
      defaultAttach: policy.defaultAttach,
      reporter: deps.reporter,
      hookTimeoutMs: policy.limits.hookTimeoutMs,
      onAttached: (artifact) => followers.add({ type: 'artifact', artifact }),
    });
    const { directory, server } = ids;
    const upstream = run.upstream(server);
    const sandbox = new Sandbox(directory);
    const maxBytes = sandbox.maxFileBytes;
    const { dropped } = await artifacts.attachFrom(
      {
        exchange,
        sandbox,
        uploadEcho: run.submission.userFiles,
        cutoff: exchange.startedAt ?? run.startedAt,
        readUpstream: (path, signal) => {
          const file = { directory, path, maxBytes };
          // One wrong answer must not cost a file.
          const read = (limit: AbortSignal) =>
            persevere(() => upstream.readFile(file, limit), readRetry, limit);
          return within(readMs, read, signal);
        },
      },
      run.letGo,
    );
    for (const each of dropped) tellDropped(run, each);
  });
  return attachedFiles(run);
}

/** What the message holds, whoever attached it. */
export function attachedFiles(run: Run): Promise<readonly FileRef[]> {
  return within(storeMs, (signal) => run.own.persist(() => run.deps.files.list(run.turn.id), signal));
}

function attachmentsOf(run: Run, begin: () => Promise<void>): Attachments {
  const { files } = run.deps;
  const { id } = run.turn;
  const persist = <T>(fn: () => Promise<T>, from: AbortSignal | undefined) =>
    within(storeMs, (signal) => run.own.persist(fn, signal), from);
  let begun: Promise<void> | undefined;
  const change = () => {
    begun ??= begin();
    return begun;
  };
  return {
    attach: async (file, signal) => {
      await change();
      await within(storeMs, (limit) => run.own.assert(limit), signal);
      return persist(() => files.attach(id, file, signal), signal);
    },
    list: (signal) => persist(() => files.list(id), signal),
    remove: async (fileId, signal) => {
      await change();
      return persist(() => files.remove(fileId), signal);
    },
  };
}

function tellDropped({ deps, turn }: Run, { reason, count, paths }: DroppedFiles): void {
  deps.tracer.event('opencode.artifacts.dropped', {
    'turn.id': turn.id,
    'artifacts.reason': reason,
    'artifacts.count': count,
    'artifacts.paths': paths.map((path) => printable(path.slice(0, 200))).join('\n'),
  });
}
