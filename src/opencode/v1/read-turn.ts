import { BadRequestError } from '../../errors.ts';
import type { ReadOptions, UpstreamReading } from '../../ports/upstream.ts';
import { askingCall, callKey } from '../../reply/call-key.ts';
import { Exchange } from '../../reply/exchange.ts';
import type { Reply } from '../../reply/reply.ts';
import type { WireMessage, WirePermission } from '../../reply/wire.ts';
import type { PromptIds } from '../../turn/phase.ts';
import type { OpenCode } from './server.ts';
import { areOver, isBusy, sessionsBelow } from './session-tree.ts';

/** Whose turn is read: at which server, and what is known of it. */
interface Read {
  readonly client: OpenCode;
  readonly ids: PromptIds;
  readonly reply: Reply;
}

/** What was read, before anybody says what it means. */
export interface TurnReading extends Omit<UpstreamReading, 'verdict' | 'settleMs' | 'streamError'> {
  /** A sub-agent is busy, and its own messages don't say that it is over. */
  readonly childBusy: boolean;
}

/**
 * Reads the truth: status first, messages after it (see `judge`). `restore` is for a reply that may have missed
 * events: it is brought to the polled exchange, and open questions and permissions are read again. Throws what
 * the client throws.
 */
export async function readTurn(
  read: Read,
  { restore, waiting = new Set() }: ReadOptions,
  signal: AbortSignal,
): Promise<TurnReading> {
  const { client, ids, reply } = read;
  const statuses = await client.statuses(ids.directory, signal);
  const messages = await client.messages(ids.sessionId, signal);
  const exchange = Exchange.from(messages, ids.promptMessageId);
  // Before its descendants are asked for: a task that began while nobody listened tells of its sub-agent here.
  if (restore) reply.syncRecoveredParts(exchange);
  const children = await childrenOf(read, exchange, signal);
  if (restore) children.push(...(await followBelow(read, children, signal)));
  const sessions = [ids.sessionId, ...children];
  const busy = isBusy(statuses, sessions);
  const busyChildren = children.filter((id) => isBusy(statuses, [id]));
  // Asked only when the turn's own messages are complete: a sub-agent of a run that is over runs no more, as a rule.
  const childBusy = exchange.inProgress
    ? busyChildren.length > 0
    : !(await areOver(client, busyChildren, signal));
  const closedRequests = restore ? await rereadRequests(read, messages, waiting, signal) : [];
  return { exchange, busy, childBusy, children, closedRequests };
}

/**
 * Whether the instance that an aborted run had is no more: the server disposed of it, also after a change of its
 * configuration, or was started anew. An abort by hand leaves the same messages behind; what tells them apart is that the
 * directory's instance of now is younger than the run's last message (OpenCode 1.18.33).
 */
export async function hasLostInstance(
  client: Pick<OpenCode, 'instanceStartedAt'>,
  { directory }: PromptIds,
  { lastAssistant }: Exchange,
  signal: AbortSignal,
): Promise<boolean> {
  if (!lastAssistant) return false;
  return (await client.instanceStartedAt(directory, signal)) > lastAssistant.info.time.created;
}

/** Asked only when a task part, running ones included, says that there are any. */
async function childrenOf(
  { client, ids, reply }: Read,
  exchange: Exchange,
  signal: AbortSignal,
): Promise<string[]> {
  const known = [...reply.childSessions().keys()];
  if (known.length === 0 && !exchange.parts.some((part) => part.type === 'tool' && part.tool === 'task'))
    return [];
  const children = await client.children(ids.sessionId, signal);
  return [...new Set([...known, ...children.map(({ id }) => id)])];
}

/**
 * Sub-agents of sub-agents that began while nobody listened: the task part that names one is no part of the reply.
 * Only those of this turn are looked through, which are the ones that the reply knows. Followed before the open
 * questions are read, so that none is asked unheard in between.
 */
async function followBelow(
  { client, reply }: Read,
  children: readonly string[],
  signal: AbortSignal,
): Promise<string[]> {
  const parents = children.filter((id) => reply.childSessions().has(id));
  const below = await sessionsBelow(client, parents, signal);
  for (const info of below)
    reply.apply({ type: 'session.created', properties: { sessionID: info.id, info } });
  return below.map(({ id }) => id).filter((id) => !children.includes(id));
}

/**
 * Requests that opened or closed while nobody listened, of the session and of this turn's sub-agents. Upstream keeps
 * those of runs that were aborted (1.18.33): expired requests, which nobody can answer any more, stay out.
 */
async function rereadRequests(
  { client, ids, reply }: Read,
  messages: readonly WireMessage[],
  waiting: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const children = reply.childSessions();
  const isOurs = (id: string) => id === ids.sessionId || children.has(id);
  const isExpired = expiredAmong(reply, ids, messages);
  const [questions, permissions] = await Promise.all([
    listed(client.questions(ids.directory, signal)),
    listed(client.permissions(ids.directory, signal)),
  ]);
  const open = new Set<string>();
  for (const [type, requests] of [
    ['question.asked', questions],
    ['permission.asked', permissions],
  ] as const) {
    for (const request of requests ?? []) {
      if (!isOurs(request.sessionID) || isExpired(request)) continue;
      open.add(request.id);
      reply.apply({ type, properties: request } as Parameters<typeof reply.apply>[0]);
    }
  }
  return questions && permissions ? [...waiting].filter((requestId) => !open.has(requestId)) : [];
}

/**
 * Undefined while the server cannot say: it answers 400 as long as one request of the whole directory lacks a field that
 * may be left out (`glob` without a path, OpenCode 1.18.33). That is as good as not asked: what is open stays open.
 */
async function listed<T>(answer: Promise<readonly T[]>): Promise<readonly T[] | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof BadRequestError && error.facts.status === 400) return undefined;
    throw error;
  }
}

type Request = Pick<WirePermission, 'tool'>;

/** A request whose tool has ended, or stands in front of this turn's prompt: an earlier turn asked it. */
function expiredAmong(
  reply: Reply,
  { promptMessageId }: PromptIds,
  messages: readonly WireMessage[],
): (request: Request) => boolean {
  const ids = messages.map(({ info }) => info.id);
  const earlier = new Set(ids.slice(0, Math.max(0, ids.indexOf(promptMessageId))));
  const ended = new Set(reply.result().toolParts.map(callKey));
  return (request) => {
    const call = askingCall(request);
    return call !== undefined && (ended.has(call) || earlier.has(request.tool?.messageID ?? ''));
  };
}
