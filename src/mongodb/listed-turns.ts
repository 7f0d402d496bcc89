import mongoose, { type Model } from 'mongoose';
import { storedIdText } from '../turn/conversation-id.ts';
import { type ListedTurn, listedRunFields, possibleStatuses, type TurnQuery } from '../turn/listed.ts';
import type { TurnStatus } from '../turn/stored-turn.ts';
import type { MessageDoc } from './models.ts';
import { objectId } from './object-id.ts';
import { type Found, pageOf } from './page-of.ts';
import { isStatus, objectsOf, runOf, timeOf } from './turn-mapping.ts';

const { trusted } = mongoose;

const fields: Readonly<Record<string, 1>> = {
  conversation: 1,
  sequence: 1,
  status: 1,
  policy: 1,
  error: 1,
  notice: 1,
  usage: 1,
  durationMs: 1,
  timeToFirstTokenMs: 1,
  createdAt: 1,
  finishedAt: 1,
  ...Object.fromEntries([...listedRunFields, 'firstClaimedAt'].map((field) => [`run.${field}`, 1 as const])),
};
/** Of a turn that is over nobody asks any more whether it waits. */
const pendingFields: typeof fields = { ...fields, 'requests.state': 1, 'requests.answer': 1 };

/** An open request is in the index; that it has an answer, which is under way upstream, is looked up. */
const waiting = {
  'requests.state': 'open',
  requests: trusted({ $elemMatch: { state: 'open', answer: { $exists: false } } }),
};

/**
 * The newest turns that all of a query is true of. One read for each status that they may have, each by an index that has all
 * conditions and the order (`models.ts`), and the newest of all: an index for every status together as well would be one more to keep.
 */
export async function newestTurns(
  messages: Model<MessageDoc>,
  query: TurnQuery,
): Promise<{ readonly turns: readonly ListedTurn[]; readonly isMore: boolean }> {
  const reads = possibleStatuses(query).map((status) => ofStatus(messages, query, status));
  const pages = await Promise.all(reads);
  const all = pages.flatMap(({ found }) => found).sort(newestFirst);
  // Behind the last one of a page that ended early there are others, which nobody has read.
  const read = all.filter((one) => pages.every((page) => !isBehind(one, page)));
  const turns = read.slice(0, query.limit).map(listedTurnOf);
  return { turns, isMore: turns.length < all.length || pages.some(({ isMore }) => isMore) };
}

function ofStatus(messages: Model<MessageDoc>, query: TurnQuery, status: TurnStatus): Promise<Found> {
  const { policy, reason, waitingForPeople, limit } = query;
  return pageOf(messages, {
    filter: {
      role: 'assistant',
      status,
      ...(policy === undefined ? {} : { policy }),
      ...(reason === undefined ? {} : { 'error.reason': reason }),
      ...(waitingForPeople ? waiting : {}),
      ...createdWithin(query),
    },
    fields: status === 'pending' ? pendingFields : fields,
    sort: { createdAt: -1, _id: -1 },
    limit,
    length: ({ requests }) =>
      objectsOf(requests).reduce((sum, { answer }) => sum + String(answer ?? '').length, 0),
  });
}

/** The time stands outside of the alternatives, too, so that the index is entered where the page begins. */
function createdWithin({ since, until, behind }: TurnQuery): Record<string, unknown> {
  const at = behind && new Date(behind.createdAt);
  const isUntilFirst = until !== undefined && (at === undefined || until <= at.getTime());
  const bounds = {
    ...(since === undefined ? {} : { $gte: new Date(since) }),
    ...(isUntilFirst ? { $lt: new Date(until) } : at ? { $lte: at } : {}),
  };
  return {
    ...(Object.keys(bounds).length === 0 ? {} : { createdAt: trusted(bounds) }),
    ...(behind && at && !isUntilFirst
      ? {
          $or: [
            { createdAt: trusted({ $lt: at }) },
            { _id: trusted({ $lt: objectId(behind.id, 'cursor') }) },
          ],
        }
      : {}),
  };
}

const newestFirst = (a: MessageDoc, b: MessageDoc) =>
  (timeOf(b.createdAt) ?? 0) - (timeOf(a.createdAt) ?? 0) ||
  (storedIdText(a._id) < storedIdText(b._id) ? 1 : -1);

function isBehind(one: MessageDoc, { found, isMore }: Found): boolean {
  const last = isMore ? found.at(-1) : undefined;
  return last !== undefined && newestFirst(one, last) > 0;
}

function listedTurnOf(message: MessageDoc): ListedTurn {
  const { policy, sequence, error, notice, usage, durationMs, timeToFirstTokenMs, requests } = message;
  const status = isStatus(message.status) ? message.status : 'error';
  const run = runOf(message.run);
  const finishedAt = timeOf(message.finishedAt);
  const progress = run.phase === 'queued' ? 'queued' : 'prompted';
  return {
    id: storedIdText(message._id),
    conversationId: storedIdText(message.conversation),
    sequence,
    status,
    progress: status === 'pending' ? progress : 'finished',
    waitingForPeople:
      status === 'pending' &&
      objectsOf(requests).some(({ state, answer }) => state === 'open' && answer === undefined),
    policy,
    run,
    ...(error ? { error } : {}),
    ...(notice ? { notice } : {}),
    ...(usage ? { usage } : {}),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(timeToFirstTokenMs === undefined ? {} : { timeToFirstTokenMs }),
    createdAt: timeOf(message.createdAt) ?? 0,
    ...(finishedAt === undefined ? {} : { finishedAt }),
  };
}
