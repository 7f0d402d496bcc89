import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Levels } from '../instrumentation/level.ts';
import type { Meter } from '../instrumentation/meter.ts';
import type { Tracer } from '../instrumentation/tracer.ts';
import type { FileStore } from '../ports/file-store.ts';
import type { Lock } from '../ports/lock.ts';
import type { TurnNotifier } from '../ports/notifier.ts';
import type { SessionStore } from '../ports/session-store.ts';
import type { StopStore } from '../ports/stop-store.ts';
import type { TurnStore } from '../ports/turn-store.ts';
import type { TurnPublisher } from '../ports/turn-stream.ts';
import type { Upstream } from '../ports/upstream.ts';
import type { Clock } from '../timing/clock.ts';

/** What every turn of a process shares. */
export interface TurnDeps {
  readonly store: TurnStore;
  readonly sessions: SessionStore;
  readonly stops: StopStore;
  readonly lock: Lock;
  readonly files: FileStore;
  readonly publisher: TurnPublisher;
  /** Hints that a person has asked for something that is stored: see `watchControl`. */
  readonly notifier: TurnNotifier;
  /** The server that a stored session lives on; without a name, one for a new session. Throws InvalidConfigError for a server that is not configured. */
  readonly upstream: (server?: string) => Upstream;
  readonly tracer: Tracer;
  readonly meter: Meter;
  readonly levels: Levels;
  readonly reporter: ErrorReporter;
  readonly clock: Clock;
  /** Key prefix of the deployment. */
  readonly prefix: string;
  /** Name of this process in `run.owner`. */
  readonly owner: string;
  /** Default working directories are folders of this one. */
  readonly sandboxRoot: string;
  /** Makes the directory of a conversation where this process can; a server elsewhere has its own. Never throws. */
  readonly prepareDirectory: (directory: string) => Promise<void>;
  /** A write of the run counts as fresh for this long; older than that, the fence is checked again before a POST. Less than half of the job's lock. */
  readonly fenceFreshMs: number;
}
