/**
 * What a follower of a turn is told, and how a view is made of it. Pure: the same fold runs in a browser, in
 * the demo and in a worker that adopts a turn and has to know what followers have seen.
 */

import type { FileRef } from '../artifacts/attachment.ts';
import type { Part, Usage } from '../reply/part.ts';
import type { InputRequest, TurnFailure, TurnNotice, TurnStatus } from './stored-turn.ts';

/** `waiting_for_server`: the OpenCode server does not answer; once it does, the progress of before is told again. */
export type TurnProgress =
  | 'queued'
  | 'started'
  | 'adopted'
  | 'waiting_for_server'
  | 'prompted'
  | 'rerun'
  | 'resent'
  | 'finalizing';

/** A request without the answer that a person has stored on it. */
export type InputRequestView = Omit<InputRequest, 'answer'>;

export type TurnEntryBody =
  | { readonly type: 'progress'; readonly progress: TurnProgress; readonly sessionId?: string }
  /** A new part, or one that changed otherwise than by growing. Replaces the part of the same id. */
  | { readonly type: 'part'; readonly part: Part }
  /**
   * Text or reasoning grew. `offset` is the length before, in UTF-16 units: a repeated entry changes nothing. Of a text
   * that is too long to be told whole, the mark at its end is replaced: `offset` is then where that begins.
   */
  | { readonly type: 'text'; readonly partId: string; readonly offset: number; readonly delta: string }
  /** All parts, in order. Replaces everything that was told before. */
  | { readonly type: 'parts'; readonly parts: readonly Part[] }
  | { readonly type: 'request'; readonly request: InputRequestView }
  /** Upstream waits before it asks the model's provider again. `nextAt` is Unix ms. */
  | { readonly type: 'retry'; readonly attempt: number; readonly message: string; readonly nextAt: number }
  | { readonly type: 'usage'; readonly usage: Usage }
  | { readonly type: 'artifact'; readonly artifact: FileRef }
  /** The whole state at a cursor; comes first when the cursor asked for is no longer kept. */
  | { readonly type: 'snapshot'; readonly view: TurnView }
  | ({ readonly type: 'finished' } & TurnEnd);

export interface TurnEnd {
  readonly status: Exclude<TurnStatus, 'pending'>;
  readonly text: string;
  /** `message` is one plain sentence for people. */
  readonly error?: Pick<TurnFailure, 'reason' | 'message' | 'unconfirmed'>;
  /** What a completed answer lacks. */
  readonly notice?: TurnNotice;
  readonly usage?: Usage;
  readonly durationMs?: number;
  readonly timeToFirstTokenMs?: number;
  readonly traceId?: string;
}

/** What followers are told of a failure; its detail is for operators. */
export function publicFailure({ reason, message, unconfirmed }: TurnFailure): NonNullable<TurnEnd['error']> {
  return { reason, message, ...(unconfirmed ? { unconfirmed } : {}) };
}

/** `id` is a cursor: pass it as `after` to go on behind this entry. It is opaque. */
export type TurnEntry = TurnEntryBody & { readonly id: string };

/** The state that a follower holds after the entries it has seen. */
export interface TurnView {
  readonly status: TurnStatus;
  readonly progress: TurnProgress | 'finished';
  readonly parts: readonly Part[];
  readonly requests: readonly InputRequestView[];
  readonly artifacts: readonly FileRef[];
  readonly usage?: Usage;
  readonly end?: TurnEnd;
}

export const emptyView: TurnView = {
  status: 'pending',
  progress: 'queued',
  parts: [],
  requests: [],
  artifacts: [],
};

type Fold<T extends TurnEntryBody['type']> = (
  view: TurnView,
  entry: Extract<TurnEntryBody, { type: T }>,
) => TurnView;

const folds: { [T in TurnEntryBody['type']]: Fold<T> } = {
  progress: (view, { progress }) => ({ ...view, progress }),
  part: (view, { part }) => ({ ...view, parts: upsert(view.parts, part, (known) => known.id === part.id) }),
  text: (view, { partId, offset, delta }) => ({
    ...view,
    parts: view.parts.map((part) =>
      part.id === partId && part.type !== 'tool'
        ? { ...part, text: part.text.slice(0, offset) + delta }
        : part,
    ),
  }),
  parts: (view, { parts }) => ({ ...view, parts }),
  request: (view, { request }) => ({
    ...view,
    requests: upsert(view.requests, request, (known) => known.requestId === request.requestId),
  }),
  retry: (view) => view,
  usage: (view, { usage }) => ({ ...view, usage }),
  artifact: (view, { artifact }) => ({
    ...view,
    artifacts: upsert(view.artifacts, artifact, (known) => known.filename === artifact.filename),
  }),
  snapshot: (_view, { view }) => view,
  finished: (view, { type: _type, ...end }) => ({
    ...view,
    status: end.status,
    progress: 'finished',
    end,
    ...(end.usage ? { usage: end.usage } : {}),
  }),
};

/** The view after one more entry. Never throws; an entry of an unknown type, or of another form, changes nothing. */
export function applyEntry(view: TurnView, entry: TurnEntryBody): TurnView {
  if (!isWhole(entry)) return view;
  const fold = folds[entry.type] as Fold<typeof entry.type>;
  return fold(view, entry as never);
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string';
const has =
  (checks: Readonly<Record<string, Check>>): Check =>
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(checks).every(([name, check]) => check((value as Record<string, unknown>)[name]));
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);

/** Whether it has what every reader of a part relies on, wherever it was stored. */
export const isPart: Check = (value) =>
  has({ id: isText, type: isText })(value) &&
  (has({ type: (type) => type === 'tool' })(value) || has({ text: isText })(value));
const isObject = has({});
export const isInputRequest = has({ requestId: isText, kind: isText, state: isText, details: isObject });
export const isArtifact = has({ filename: isText });

/** What each fold reads of its entry: whoever can write to the stream could put anything there. */
const checks: { readonly [T in TurnEntryBody['type']]: Check } = {
  progress: has({ progress: isText }),
  part: has({ part: isPart }),
  text: has({ partId: isText, offset: Number.isSafeInteger, delta: isText }),
  parts: has({ parts: listOf(isPart) }),
  request: has({ request: isInputRequest }),
  retry: isObject,
  usage: has({ usage: isObject }),
  artifact: has({ artifact: isArtifact }),
  snapshot: has({
    view: has({
      status: isText,
      progress: isText,
      parts: listOf(isPart),
      requests: listOf(isInputRequest),
      artifacts: listOf(isArtifact),
    }),
  }),
  finished: has({ status: isText }),
};

/** False for what no release of ours would tell. One of a type that we do not know may be of a newer release. */
export function isEntry(value: unknown): value is TurnEntryBody {
  if (!has({ type: isText })(value)) return false;
  return !Object.hasOwn(checks, (value as TurnEntryBody).type) || isWhole(value);
}

function isWhole(entry: unknown): entry is TurnEntryBody {
  if (!has({ type: isText })(entry)) return false;
  const { type } = entry as TurnEntryBody;
  return Object.hasOwn(checks, type) && checks[type](entry);
}

function upsert<T>(list: readonly T[], item: T, same: (known: T) => boolean): readonly T[] {
  const at = list.findIndex(same);
  return at < 0 ? [...list, item] : list.with(at, item);
}
