import mongoose from 'mongoose';
import type { FileRef } from '../artifacts/attachment.ts';
import type { Part } from '../reply/part.ts';
import { isArtifact, isPrompt } from '../turn/entry.ts';
import type {
  PendingTurn,
  RunState,
  StoredPrompt,
  StoredTurn,
  TurnPatch,
  TurnWishes,
  WaitingTurn,
} from '../turn/stored-turn.ts';
import type { MessageDoc } from './models.ts';
import { readJson, readObject, readParts } from './stored-json.ts';

type StoredPromptDoc = MessageDoc['prompts'][number];
type StoredFileDoc = MessageDoc['artifacts'][number];

/** What a turn needs of its user message. */
export type QuestionDoc = Pick<MessageDoc, 'content' | 'artifacts'>;

/** The assistant message and its user message as the turn that they are. */
export function turnOf(message: MessageDoc, question: QuestionDoc | null): StoredTurn {
  const { usage, durationMs, timeToFirstTokenMs, error, notice, carrier, finishedAt } = message;
  const { parts, damaged } = partsOf(message, question);
  const createdAt = timeOf(message.createdAt);
  return {
    id: String(message._id),
    recordId: idText(message.conversation),
    sequence: message.sequence,
    status: isStatus(message.status) ? message.status : 'error',
    policy: message.policy,
    userText: textOf(question?.content),
    uploads: filesIn(question?.artifacts).map(artifactOf),
    content: textOf(message.content),
    reasoning: textOf(message.reasoning),
    parts,
    ...(damaged === undefined ? {} : { damaged }),
    ...wishesOf(message),
    artifacts: filesIn(message.artifacts).map(artifactOf),
    createdAt: createdAt ?? 0,
    ...(usage ? { usage } : {}),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(timeToFirstTokenMs === undefined ? {} : { timeToFirstTokenMs }),
    ...(error ? { error } : {}),
    ...(notice ? { notice } : {}),
    ...(carrier ? { carrier } : {}),
    ...(timeOf(finishedAt) === undefined ? {} : { finishedAt: timeOf(finishedAt) as number }),
  };
}

/** What cannot be read must not hide the turn from those who can end it. `damaged` names it. */
function partsOf(
  message: MessageDoc,
  question: QuestionDoc | null,
): { parts: readonly Part[]; damaged: string | undefined } {
  const { parts, whole } = readParts(message.parts);
  const { conversation, createdAt, artifacts, prompts } = message;
  const uploads = question?.artifacts ?? [];
  const damaged = Object.entries({
    parts: whole,
    conversation: idText(conversation) !== '',
    createdAt: timeOf(createdAt) !== undefined,
    status: isStatus(message.status),
    artifacts: filesIn(artifacts).length === artifacts?.length,
    prompts: promptsIn(prompts).length === prompts?.length,
    uploads: filesIn(uploads).length === uploads.length,
  }).find(([, isWhole]) => !isWhole);
  return { parts, damaged: damaged?.[0] };
}

/** Documents are read as they are stored, past Mongoose's casting: any field may hold anything. */
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Empty for what is no id. */
function idText(value: unknown): string {
  if (typeof value === 'string') return value;
  return value instanceof mongoose.Types.ObjectId ? value.toHexString() : '';
}

function timeOf(value: unknown): number | undefined {
  const time = value instanceof Date ? value.getTime() : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}

const objectsOf = <T extends object>(value: readonly T[] | undefined): readonly T[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'object' && one !== null) : [];

const statuses: ReadonlySet<unknown> = new Set(['pending', 'completed', 'error', 'cancelled']);
const isStatus = (value: unknown): boolean => statuses.has(value);
const filesIn = (value: readonly StoredFileDoc[] | undefined) => objectsOf(value).filter(isArtifact);
/** Its request is read when the prompt is. */
const promptsIn = (value: readonly StoredPromptDoc[] | undefined) =>
  objectsOf(value).filter((one) => isPrompt({ ...one, request: {} }));

/** Of a message with `run` and `prompts` at least. */
export function wishesOf({ run, prompts }: Pick<MessageDoc, 'run' | 'prompts'>): TurnWishes {
  return { run: runOf(run), prompts: promptsIn(prompts).map(promptOf) };
}

function runOf(run: MessageDoc['run']): RunState {
  const {
    active: _active,
    claim: _claim,
    tellFrom: _tellFrom,
    claimedAt,
    ...state
  } = run ?? { phase: 'queued', epoch: 0, reruns: 0, resends: 0 };
  return claimedAt ? { ...state, claimedAt: timeOf(claimedAt) ?? Number.NaN } : state;
}

export function waitingOf(message: MessageDoc): WaitingTurn {
  const { _id, conversation, policy, carrier } = message;
  return {
    id: String(_id),
    recordId: idText(conversation),
    policy,
    ...(carrier ? { carrier } : {}),
  };
}

/** Of a message with the fields of `pendingFields`. */
export function pendingOf(message: MessageDoc): PendingTurn {
  const { createdAt, run, prompts } = message;
  const hasWish =
    run?.cancelRequestedAt !== undefined ||
    // Read without their names.
    objectsOf(prompts).some(({ state, answer }) => state === 'open' && answer !== undefined);
  return { ...waitingOf(message), createdAt: timeOf(createdAt) ?? 0, hasWish };
}

export const pendingFields = {
  conversation: 1,
  policy: 1,
  carrier: 1,
  createdAt: 1,
  'run.cancelRequestedAt': 1,
  'prompts.state': 1,
  'prompts.answer': 1,
} as const;

function promptOf({ request, answer, ...prompt }: StoredPromptDoc): StoredPrompt {
  return {
    ...prompt,
    request: readObject(request) ?? {},
    ...(answer === undefined ? {} : { answer: readJson(answer) as NonNullable<StoredPrompt['answer']> }),
  };
}

export function promptDoc({ request, answer, ...prompt }: StoredPrompt): StoredPromptDoc {
  return {
    ...prompt,
    request: JSON.stringify(request),
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
  const { run = {}, parts, artifacts, prompt: _prompt, ...rest } = patch;
  const fields = Object.entries(run).map(([key, value]) => [`run.${key}`, value] as const);
  return {
    ...withoutUndefined(rest),
    ...(parts ? { parts: JSON.stringify(parts) } : {}),
    ...(artifacts ? { artifacts: artifacts.map(artifactDoc) } : {}),
    ...withoutUndefined(Object.fromEntries(fields)),
  };
}

function withoutUndefined(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
