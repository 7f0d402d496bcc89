/**
 * A turn as it is stored: the assistant message, with the user's text beside it. Plain data, no database types.
 */
import type { FileRef } from '../artifacts/attachment.ts';
import type { TraceCarrier } from '../instrumentation/tracer.ts';
import type { Part, Usage } from '../reply/part.ts';
import type { FailureReason } from './failure-sentences.ts';

export type TurnStatus = 'pending' | 'completed' | 'error' | 'cancelled';

/** Where a new owner resumes; `phase.ts` says what each one means. */
export type TurnPhase = 'queued' | 'prompting' | 'prompted' | 'finalizing' | 'finished';

export interface RunState {
  readonly phase: TurnPhase;
  /** Fencing token: each claim raises it by one. */
  readonly epoch: number;
  readonly owner?: string;
  readonly sessionId?: string;
  readonly server?: string;
  readonly directory?: string;
  readonly promptMessageId?: string;
  readonly promptPartId?: string;
  /** When its owner claimed it. This and the next four: Unix ms by the database's clock, which all owners share. */
  readonly claimedAt?: number;
  /** When its first owner did: the turn's time limit runs from then on. */
  readonly startedAt?: number;
  /** Since when the server has been away, as long as no owner has seen it back. */
  readonly awaySince?: number;
  readonly promptedAt?: number;
  readonly firstTokenAt?: number;
  /**
   * When upstream had got the prompt whose run counts as lost, Unix ms by upstream's clock: it is stopped there before
   * anything else is done, so that who comes next knows the abort for ours. A prompt that was posted again has another time.
   */
  readonly lostPromptedAt?: number;
  /** Unix ms by the clock of whoever asked. */
  readonly cancelRequestedAt?: number;
  /** The turn that was sent now in its place. */
  readonly interruptedBy?: string;
  /** How often the server lost the run and the same message was prompted again. */
  readonly reruns: number;
  /** How often the session was gone and the prompt went to a new one. */
  readonly resends: number;
  /** Number of the last stream entry that the stored parts contain, and the stream's name; a follower goes on after it. */
  readonly cursor?: number;
  readonly stream?: string;
  /** Names in the agent's directory of what the user sent along; stored before the prompt. */
  readonly uploadNames?: readonly string[];
  /** What this turn may have left running; gone again once it was seen to be over. */
  readonly openStops?: readonly StopRef[];
  /** When they were aborted last, Unix ms. Stored as long as there are any. */
  readonly stopTriedAt?: number;
}

export interface InputRequest {
  readonly requestId: string;
  readonly kind: 'question' | 'permission';
  readonly sessionId: string;
  /** The tool call that asks, by both: some providers give the same call id in each step. */
  readonly messageId?: string;
  readonly callId?: string;
  /** The request as upstream sent it (questions, or permission with patterns). */
  readonly details: Readonly<Record<string, unknown>>;
  /** What may be replied to a permission; without it `once` and `reject`. */
  readonly replies?: readonly PermissionReply[];
  readonly askedAt: number;
  readonly deadlineAt?: number;
  readonly state: 'open' | 'answered' | 'rejected' | 'closed';
  /** What a person has said, stored before it is sent upstream. */
  readonly answer?: InputAnswer;
}

/** A run upstream that was aborted and not seen to end. */
export interface StopRef {
  readonly sessionId: string;
  readonly server: string;
  readonly directory: string;
  readonly promptMessageId: string;
}

/** What went wrong. `reason` is stable and for programs, `message` one plain sentence for people. */
export interface TurnFailure {
  readonly reason: FailureReason;
  readonly message: string;
  /** What upstream or a service said, for operators: at most 1,000 UTF-16 units, without the server's stack. */
  readonly detail?: string;
  /** Upstream's name of the error; `code` of one of this library when it waited for something that was away. */
  readonly name?: string;
  readonly statusCode?: number;
  /** The run was aborted and could not be seen to end: it may go on for a while, and the sweeper goes on aborting it. */
  readonly unconfirmed?: true;
}

/** What a completed answer lacks: the model had written as much as it may (`output_limit`), or ended without a word. */
export interface TurnNotice {
  readonly reason: 'output_limit' | 'no_text';
  /** One plain sentence for people. */
  readonly message: string;
}

/**
 * What the model was given beside the user's text and the conversation so far, stored before the prompt was posted. What is
 * absent was left to the server.
 */
export interface PromptedWith {
  readonly agent?: string;
  /** `provider/model`. */
  readonly model?: string;
  readonly variant?: string;
  /** At most 256 KiB, with a mark of what is left out. */
  readonly system?: string;
}

export interface StoredTurn {
  readonly id: string;
  readonly conversationId: string;
  readonly sequence: number;
  readonly status: TurnStatus;
  readonly policy: string;
  readonly userText: string;
  /** The turn that it tries again. */
  readonly retryOf?: string;
  /** How often its text was edited while it waited; absent for never. */
  readonly revision?: number;
  /** What the user sent along. */
  readonly uploads: readonly FileRef[];
  readonly text: string;
  readonly reasoning: string;
  readonly parts: readonly Part[];
  readonly usage?: Usage;
  readonly durationMs?: number;
  readonly timeToFirstTokenMs?: number;
  readonly error?: TurnFailure;
  readonly notice?: TurnNotice;
  readonly run: RunState;
  readonly requests: readonly InputRequest[];
  /** Absent as long as nothing may have been prompted, and on turns of earlier releases. */
  readonly promptedWith?: PromptedWith;
  readonly artifacts: readonly FileRef[];
  readonly carrier?: TraceCarrier;
  /** Name of a stored field that cannot be read; what it held is missing here. */
  readonly damaged?: string;
  readonly createdAt: number;
  readonly finishedAt?: number;
}

/** A turn that waits, as far as its job needs it. */
export type WaitingTurn = Pick<StoredTurn, 'id' | 'conversationId' | 'policy' | 'carrier'> & {
  /** Where its conversation is stored, if that is not where this process has its own: not ours to run. */
  readonly foreign?: string;
};

/** A turn that waits or runs, as far as the sweeper needs it: of a turn's size nothing. */
export type PendingTurn = WaitingTurn &
  Pick<StoredTurn, 'createdAt'> & {
    /** Somebody has asked for its end, or has answered what it asked. */
    readonly hasControl: boolean;
    /** It waits, and was to go next in place of what runs; nobody has placed it yet. */
    readonly sendNow?: true;
    /** It waits, and that turn was to be interrupted for it. */
    readonly interrupts?: string;
  };

/** A turn that is over: nothing of it changes any more. */
export type FinishedTurn = StoredTurn & { readonly status: Exclude<TurnStatus, 'pending'> };

/** What people may ask of a running turn (cancel, answers), who owns it, and whether it is over. */
export type TurnControl = Pick<StoredTurn, 'run' | 'requests' | 'status'>;

/** Where a session lives. */
export interface SessionRef {
  readonly sessionId: string;
  readonly server: string;
  /** Fingerprint of the permission rules that are in force there; without one nobody knows. */
  readonly rules?: string;
  /** Where its agent works, as the policy named it; without one nobody knows. */
  readonly directory?: string;
}

/** What a running turn may write, under its fence. `run` fields are merged one by one. */
export interface TurnPatch {
  readonly run?: Partial<Omit<RunState, 'epoch' | 'cancelRequestedAt' | 'interruptedBy' | 'awaySince'>> & {
    /** Null takes it away. */
    readonly awaySince?: number | null;
  };
  readonly text?: string;
  readonly reasoning?: string;
  readonly parts?: readonly Part[];
  readonly usage?: Usage;
  /** Opens a request, or changes the state of one that is stored (its `answer` is never touched); matched by request id. */
  readonly request?: InputRequest;
  readonly promptedWith?: PromptedWith;
  readonly artifacts?: readonly FileRef[];
}

export interface TerminalPatch extends TurnPatch {
  readonly status: Exclude<TurnStatus, 'pending'>;
  readonly error?: TurnFailure;
  readonly notice?: TurnNotice;
  readonly durationMs: number;
  readonly timeToFirstTokenMs?: number;
  readonly finishedAt: number;
  /** With an end that must be as small as it can be: nothing of what was asked stays. */
  readonly requests?: readonly [];
}

/** `always` is remembered by the server for the directory, so for other conversations too. */
export type PermissionReply = 'once' | 'always' | 'reject';

/** What a person says to a question or a permission. */
export type InputAnswer =
  | { readonly kind: 'question'; readonly answers: readonly (readonly string[])[] }
  | { readonly kind: 'permission'; readonly reply: PermissionReply; readonly message?: string }
  | { readonly kind: 'reject' };
