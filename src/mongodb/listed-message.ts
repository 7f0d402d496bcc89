import { storedIdText } from '../turn/conversation-id.ts';
import { publicFailure } from '../turn/entry.ts';
import type { ListedMessage, ListedReply } from '../turn/listed.ts';
import type { MessageDoc } from './models.ts';
import { filesOf, isStatus, textOf, timeOf } from './turn-mapping.ts';

/** What `listedMessageOf` reads: of a message's size its text, and no more. */
export const listedMessageFields = {
  conversation: 1,
  counterpart: 1,
  sequence: 1,
  role: 1,
  status: 1,
  policy: 1,
  text: 1,
  artifacts: 1,
  createdAt: 1,
  'run.phase': 1,
  error: 1,
  notice: 1,
  usage: 1,
  durationMs: 1,
  finishedAt: 1,
} as const;

/** Of a message with these fields, whatever is stored in them. */
export function listedMessageOf(message: MessageDoc): ListedMessage {
  const { _id, counterpart, role, sequence, policy, text, artifacts, createdAt } = message;
  const id = storedIdText(_id);
  const every = {
    id,
    sequence,
    policy,
    text: textOf(text),
    files: filesOf(artifacts),
    createdAt: timeOf(createdAt) ?? 0,
  };
  if (role === 'user') return { role, turnId: storedIdText(counterpart), ...every };
  return { role: 'assistant', turnId: id, ...every, ...stateOf(message) };
}

type State = Omit<ListedReply, keyof Extract<ListedMessage, { role: 'user' }>>;

function stateOf(message: MessageDoc): State {
  const { error, notice, usage, durationMs } = message;
  const status = isStatus(message.status) ? message.status : 'error';
  const finishedAt = timeOf(message.finishedAt);
  const progress = message.run?.phase === 'queued' ? 'queued' : 'prompted';
  return {
    status,
    progress: status === 'pending' ? progress : 'finished',
    ...(error ? { error: publicFailure(error) } : {}),
    ...(notice ? { notice } : {}),
    ...(usage ? { usage } : {}),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
  };
}
