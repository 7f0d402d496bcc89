import type { FileRef } from '../artifacts/attachment.ts';
import type { Part } from '../reply/part.ts';
import { storedIdText } from '../turn/conversation-id.ts';
import { isArtifact, isInputRequest } from '../turn/entry.ts';
import type {
  InputRequest,
  PendingTurn,
  RunState,
  StoredTurn,
  TurnControl,
  TurnPatch,
  WaitingTurn,
} from '../turn/stored-turn.ts';
import { assertReadable, isVersion } from '../turn/versions.ts';
import type { MessageDoc } from './models.ts';
import { readJson, readObject, readParts } from './stored-json.ts';

type InputRequestDoc = MessageDoc['requests'][number];
type StoredFileDoc = MessageDoc['artifacts'][number];

/** What a turn needs of its user message. */
export type UserMessageDoc = Pick<MessageDoc, 'text' | 'artifacts' | 'schemaVersion'>;

/** The assistant message and its user message as the turn that they are. Throws NewerVersionError. */
export function turnOf(message: MessageDoc, userMessage: UserMessageDoc | null): StoredTurn {
  for (const each of [message, userMessage]) assertReadable('turn', String(message._id), each?.schemaVersion);
  const { usage, durationMs, timeToFirstTokenMs, error, notice, carrier, finishedAt, promptedWith } = message;
  const { parts, damaged } = partsOf(message, userMessage);
  const createdAt = timeOf(message.createdAt);
  return {
    id: String(message._id),
    conversationId: storedIdText(message.conversation),
    sequence: message.sequence,
    policy: message.policy,
    userText: textOf(message.edit?.text ?? userMessage?.text),
    uploads: filesOf(userMessage?.artifacts),
    text: textOf(message.text),
    reasoning: textOf(message.reasoning),
    parts,
    ...(damaged === undefined ? {} : { damaged }),
    ...controlOf(message),
    artifacts: filesOf(message.artifacts),
    createdAt: createdAt ?? 0,
    ...(message.retryOf === undefined ? {} : { retryOf: message.retryOf }),
    ...(message.edit ? { revision: message.edit.revision } : {}),
    ...(usage ? { usage } : {}),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(timeToFirstTokenMs === undefined ? {} : { timeToFirstTokenMs }),
    ...(error ? { error } : {}),
    ...(notice ? { notice } : {}),
    ...(promptedWith ? { promptedWith } : {}),
    ...(carrier ? { carrier } : {}),
    ...(timeOf(finishedAt) === undefined ? {} : { finishedAt: timeOf(finishedAt) as number }),
  };
}

/** What cannot be read must not hide the turn from those who can end it. `damaged` names it. */
function partsOf(
  message: MessageDoc,
  userMessage: UserMessageDoc | null,
): { parts: readonly Part[]; damaged: string | undefined } {
  const { parts, whole } = readParts(message.parts);
  const { conversation, createdAt, artifacts, requests } = message;
  const uploads = userMessage?.artifacts ?? [];
  const damaged = Object.entries({
    schemaVersion: isVersion(message.schemaVersion),
    parts: whole,
    conversation: storedIdText(conversation) !== '',
    createdAt: timeOf(createdAt) !== undefined,
    status: isStatus(message.status),
    artifacts: filesIn(artifacts).length === artifacts?.length,
    requests: requestsIn(requests).length === requests?.length,
    uploads: filesIn(uploads).length === uploads.length,
  }).find(([, isWhole]) => !isWhole);
  return { parts, damaged: damaged?.[0] };
}

/** Documents are read as they are stored, past Mongoose's casting: any field may hold anything. */
export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

export function timeOf(value: unknown): number | undefined {
  const time = value instanceof Date ? value.getTime() : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}

export const objectsOf = <T extends object>(value: readonly T[] | undefined): readonly T[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'object' && one !== null) : [];

const statuses: ReadonlySet<unknown> = new Set(['pending', 'completed', 'error', 'cancelled']);
export const isStatus = (value: unknown): value is MessageDoc['status'] => statuses.has(value);
const filesIn = (value: readonly StoredFileDoc[] | undefined) => objectsOf(value).filter(isArtifact);
export const filesOf = (value: readonly StoredFileDoc[] | undefined): readonly FileRef[] =>
  filesIn(value).map(artifactOf);
/** Its details are read when the request is. */
const requestsIn = (value: readonly InputRequestDoc[] | undefined) =>
  objectsOf(value).filter((one) => isInputRequest({ ...one, details: {} }));

/** Of a message with `run` and `requests` at least. */
export function controlOf({
  run,
  requests,
  status,
}: Pick<MessageDoc, 'run' | 'requests' | 'status'>): TurnControl {
  return {
    run: runOf(run),
    requests: requestsIn(requests).map(requestOf),
    status: isStatus(status) ? status : 'error',
  };
}

export function runOf(run: MessageDoc['run']): RunState {
  const {
    active: _active,
    claim: _claim,
    announceFrom: _announceFrom,
    policySoughtSince: _policySoughtSince,
    policySoughtAt: _policySoughtAt,
    claimedAt,
    firstClaimedAt,
    ...state
  } = run ?? { phase: 'queued', epoch: 0, reruns: 0, resends: 0 };
  return {
    ...(firstClaimedAt ? { startedAt: timeOf(firstClaimedAt) ?? Number.NaN } : {}),
    ...state,
    ...(claimedAt ? { claimedAt: timeOf(claimedAt) ?? Number.NaN } : {}),
  };
}

/** `collection`: the one of this process's conversations; without it nobody asks whose the turn is. */
export function waitingOf(message: MessageDoc, collection?: string): WaitingTurn {
  const { _id, conversation, conversationCollection, policy, carrier } = message;
  const foreign = collection && conversationCollection !== collection ? conversationCollection : undefined;
  return {
    id: String(_id),
    conversationId: storedIdText(conversation),
    policy,
    ...(carrier ? { carrier } : {}),
    ...(foreign === undefined ? {} : { foreign }),
  };
}

/** What `waitingOf` and a claim read. */
export const waitingFields = {
  conversation: 1,
  conversationCollection: 1,
  schemaVersion: 1,
  counterpart: 1,
  policy: 1,
  carrier: 1,
  sequence: 1,
  position: 1,
  steered: 1,
  'run.active': 1,
  'run.epoch': 1,
  'run.startedAt': 1,
  'run.firstClaimedAt': 1,
};

/** Of a message with the fields of `pendingFields`. */
export function pendingOf(message: MessageDoc): PendingTurn {
  const { createdAt, run, requests } = message;
  const hasControl =
    run?.cancelRequestedAt !== undefined ||
    // Read without their names.
    objectsOf(requests).some(({ state, answer }) => state === 'open' && answer !== undefined);
  const { sendNow, interrupts } = (run?.epoch ?? 0) === 0 ? message : {};
  return {
    ...waitingOf(message),
    createdAt: timeOf(createdAt) ?? 0,
    hasControl,
    ...(sendNow === 'due' ? { sendNow: true } : {}),
    ...(interrupts === undefined ? {} : { interrupts }),
  };
}

export const pendingFields = {
  conversation: 1,
  policy: 1,
  carrier: 1,
  createdAt: 1,
  sendNow: 1,
  interrupts: 1,
  'run.epoch': 1,
  'run.cancelRequestedAt': 1,
  'requests.state': 1,
  'requests.answer': 1,
} as const;

function requestOf({ details, answer, ...request }: InputRequestDoc): InputRequest {
  return {
    ...request,
    details: readObject(details) ?? {},
    ...(answer === undefined ? {} : { answer: readJson(answer) as NonNullable<InputRequest['answer']> }),
  };
}

export function requestDoc({ details, answer, ...request }: InputRequest): InputRequestDoc {
  return {
    ...request,
    details: JSON.stringify(details),
    ...(answer === undefined ? {} : { answer: JSON.stringify(answer) }),
  };
}

function artifactOf({ metadata, ...file }: StoredFileDoc): FileRef {
  const read = readObject(metadata);
  return { ...file, metadata: read ?? {}, ...(read ? {} : { damaged: 'metadata' }) };
}

export function artifactDoc({ metadata, ...file }: FileRef): StoredFileDoc {
  return { ...file, metadata: JSON.stringify(metadata) };
}

/** The `$set` of a patch; run fields one by one, so that nothing else in `run` is touched. */
export function setOf(patch: TurnPatch): Record<string, unknown> {
  const { run = {}, parts, artifacts, request: _request, ...rest } = patch;
  const fields = Object.entries(run).flatMap(([key, value]) =>
    value === null ? [] : [[`run.${key}`, value] as const],
  );
  return {
    ...withoutUndefined(rest),
    ...(parts ? { parts: JSON.stringify(parts) } : {}),
    ...(artifacts ? { artifacts: artifacts.map(artifactDoc) } : {}),
    ...withoutUndefined(Object.fromEntries(fields)),
  };
}

/** The `$unset` of a patch; undefined when it takes nothing away. */
export function unsetOf({ run = {} }: TurnPatch): Record<string, 1> | undefined {
  const gone = Object.entries(run).flatMap(([key, value]) => (value === null ? [[`run.${key}`, 1]] : []));
  return gone.length === 0 ? undefined : Object.fromEntries(gone);
}

function withoutUndefined(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
