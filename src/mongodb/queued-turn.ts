import { cutText } from '../bounds/cut-text.ts';
import type { Hold, QueuedTurn, RunningTurn } from '../ports/turn-queue.ts';
import type { PlacedTurn } from '../turn/queue-order.ts';
import type { MessageDoc } from './models.ts';
import type { OpenCodeSessionFields } from './opencode-session-plugin.ts';

const maxTextBytes = 4_000;

/** What a queue reads of a pending reply. */
export const queueFields = {
  policy: 1,
  sequence: 1,
  position: 1,
  createdAt: 1,
  counterpart: 1,
  'edit.revision': 1,
  'edit.text': 1,
  'run.epoch': 1,
  'requests.state': 1,
} as const;

export const isRunning = ({ run }: MessageDoc): boolean => (run?.epoch ?? 0) > 0;

export const placedOf = (message: MessageDoc): PlacedTurn => ({
  id: String(message._id),
  sequence: message.sequence,
  ...(message.position === undefined ? {} : { position: message.position }),
  isRunning: isRunning(message),
});

/** What a queue shows of a user's message: as little as may be kept of many. */
export type AskedText = Pick<QueuedTurn, 'text' | 'isCut' | 'files'>;

export function askedText({ text, artifacts }: Pick<MessageDoc, 'text' | 'artifacts'>): AskedText {
  const shown = cutText(text, maxTextBytes);
  const files = artifacts.map(({ filename, contentType, bytes }) => ({ filename, contentType, bytes }));
  return { text: shown, isCut: shown !== text, files };
}

const nothing: AskedText = { text: '', isCut: false, files: [] };

/** A reply that waits, with what its user's message says. */
export function queuedOf(message: MessageDoc, asked: AskedText = nothing): QueuedTurn {
  const { _id, policy, createdAt, edit } = message;
  const text = edit ? askedText({ text: edit.text, artifacts: [] }) : asked;
  return {
    id: String(_id),
    policy,
    ...text,
    files: asked.files,
    revision: edit?.revision ?? 0,
    createdAt: createdAt.getTime(),
  };
}

export const runningOf = (message: MessageDoc, asked?: AskedText): RunningTurn => ({
  ...queuedOf(message, asked),
  waitsForPerson: message.requests.some(({ state }) => state === 'open'),
});

export function holdOf({ opencodeHeldAt: at, opencodeHeldBy: by }: OpenCodeSessionFields): Hold | undefined {
  if (!at) return undefined;
  return { at: at.getTime(), ...(by ? { by } : {}) };
}
