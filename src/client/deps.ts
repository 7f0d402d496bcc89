import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Meter } from '../instrumentation/meter.ts';
import type { Tracer } from '../instrumentation/tracer.ts';
import type { FollowDeps } from '../live/follow.ts';
import type { FileStore } from '../ports/file-store.ts';
import type { ControlNotifier } from '../ports/notifier.ts';
import type { TurnJobs } from '../ports/turn-jobs.ts';
import type { TurnLists } from '../ports/turn-lists.ts';
import type { TurnQueue } from '../ports/turn-queue.ts';
import type { TurnStore } from '../ports/turn-store.ts';
import type { TurnPublisher, TurnReader } from '../ports/turn-stream.ts';
import type { ConversationIdType } from '../turn/conversation-id.ts';

/** What a process needs that asks for turns and runs none. */
export interface ClientDeps extends FollowDeps {
  /** Of the conversations' model. */
  readonly idType: ConversationIdType;
  readonly store: TurnStore;
  readonly lists: TurnLists;
  readonly queue: TurnQueue;
  readonly files: FileStore;
  readonly jobs: TurnJobs;
  readonly stream: TurnPublisher & TurnReader;
  /** Tells the worker that runs a turn of what is stored for it. */
  readonly control: ControlNotifier;
  readonly tracer: Tracer;
  readonly meter: Meter;
  readonly reporter: ErrorReporter;
}
