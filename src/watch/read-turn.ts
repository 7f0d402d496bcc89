import { BadRequestError, mayPass } from '../errors.ts';
import type { OpenCode } from '../ports/upstream.ts';
import { askingCall, callKey } from '../reply/call-key.ts';
import { Exchange } from '../reply/exchange.ts';
import type { WireMessage, WirePermission } from '../reply/wire.ts';
import { patiently } from '../run/patience.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { areOver, isBusy, sessionsBelow } from '../stop/session-tree.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';
import type { PromptIds } from '../turn/phase.ts';

/** What of a run is touched here. */
type Run = Pick<
  TurnRun,
  'absence' | 'deps' | 'letGo' | 'live' | 'policy' | 'signal' | 'submission' | 'turn' | 'upstream'
>;

/** What upstream says at one moment. */
export interface UpstreamReading {
  readonly exchange: Exchange;
  readonly busy: boolean;
  /** A sub-agent is, and its own messages don't say that it is over. */
  readonly childBusy: boolean;
  /** Sessions of sub-agents, as far as anybody has told. */
  readonly children: readonly string[];
  /** Requests that wait for a person here, and that upstream does not know any more. */
  readonly closedRequests: readonly string[];
}

/**
 * Reads the truth: status first, messages after it (see `judge`). `rebuild` is for a reply that may have missed
 * events: it is brought to the polled exchange, and open questions and permissions are read again. Throws what
 * the client throws.
 */
export async function readTurn(
  run: Run,
  ids: PromptIds,
  rebuild: boolean,
  waiting: ReadonlySet<string> = new Set(),
): Promise<UpstreamReading> {
  const { client } = run.upstream(ids.server);
  const statuses = await client.statuses(ids.directory, run.signal);
  const messages = await client.messages(ids.sessionId, run.signal);
  const exchange = Exchange.from(messages, ids.promptMessageId);
  // Before its descendants are asked for: a task that began while nobody listened tells of its sub-agent here.
  if (rebuild) run.live.reply?.syncRecoveredParts(exchange);
  const children = await childrenOf(run, client, ids, exchange);
  if (rebuild) children.push(...(await followBelow(run, client, children)));
  const sessions = [ids.sessionId, ...children];
  const busy = isBusy(statuses, sessions);
  const busyChildren = children.filter((id) => isBusy(statuses, [id]));
  // Asked only when the turn's own messages are complete: a sub-agent of a run that is over runs no more, as a rule.
  const childBusy = exchange.inProgress
    ? busyChildren.length > 0
    : !(await areOver(client, busyChildren, run.signal));
  const closedRequests = rebuild ? await rereadRequests(run, client, ids, messages, waiting) : [];
  return { exchange, busy, childBusy, children, closedRequests: closedRequests };
}

/**
 * Whether the instance that an aborted run had is no more: the server disposed of it, also after a change of its
 * configuration, or was started anew. An abort by hand leaves the same messages behind; what tells them apart is that the
 * directory's instance of now is younger than the run's last message (OpenCode 1.18.33). False when nobody can say.
 */
export async function hasLostInstance(
  run: Run,
  { server, directory }: PromptIds,
  { lastAssistant }: Exchange,
): Promise<boolean> {
  if (!lastAssistant) return false;
  const { client } = run.upstream(server);
  try {
    const read = () => client.instanceStartedAt(directory, run.signal);
    const startedAt = await persevere(read, patiently(run), run.signal);
    return startedAt > lastAssistant.info.time.created;
  } catch (error) {
    if (run.signal.aborted) throw error;
    run.deps.reporter.report(error, { action: 'turn.instance', severity: 'warning', turnId: run.turn.id });
    return false;
  }
}

/** Asked only when a task part, running ones included, says that there are any. */
async function childrenOf(run: Run, client: OpenCode, ids: PromptIds, exchange: Exchange): Promise<string[]> {
  const known = [...(run.live.reply?.childSessions().keys() ?? [])];
  if (known.length === 0 && !exchange.parts.some((part) => part.type === 'tool' && part.tool === 'task'))
    return [];
  const children = await client.children(ids.sessionId, run.signal);
  return [...new Set([...known, ...children.map(({ id }) => id)])];
}

/**
 * Sub-agents of sub-agents that began while nobody listened: the task part that names one is no part of the reply.
 * Only those of this turn are looked through, which are the ones that the reply knows. Followed before the open
 * questions are read, so that none is asked unheard in between.
 */
async function followBelow(run: Run, client: OpenCode, children: readonly string[]): Promise<string[]> {
  const { reply } = run.live;
  const parents = children.filter((id) => reply?.childSessions().has(id));
  const below = await sessionsBelow(client, parents, run.signal);
  for (const info of below)
    reply?.apply({ type: 'session.created', properties: { sessionID: info.id, info } });
  return below.map(({ id }) => id).filter((id) => !children.includes(id));
}

/** How long the end of a turn waits for the messages of one child. */
const childMs = 15_000;
const childRetry = { firstMs: 100, maxMs: 2_000, again: mayPass };

/**
 * The final exchange of a turn with the messages of its children, whose cost and files are part of the turn's. A
 * child that cannot be read is reported: the answer does not depend on it.
 */
export async function fullExchange(
  run: Run,
  ids: PromptIds,
  messages: readonly WireMessage[],
): Promise<Exchange> {
  const children = new Map<string, readonly WireMessage[]>();
  const { client } = run.upstream(ids.server);
  for (const child of run.live.reply?.childSessions().keys() ?? []) {
    const options = { ...childRetry, clock: run.deps.clock };
    const read = (signal: AbortSignal) => persevere(() => client.messages(child, signal), options, signal);
    try {
      children.set(child, await within(childMs, read, run.letGo));
    } catch (error) {
      run.deps.reporter.report(error, { action: 'turn.children', severity: 'warning', turnId: run.turn.id });
    }
  }
  return Exchange.from(messages, ids.promptMessageId, { children });
}

/**
 * Requests that opened or closed while nobody listened, of the session and of this turn's sub-agents. Upstream keeps
 * those of runs that were aborted (1.18.33): expired requests, which nobody can answer any more, stay out.
 */
async function rereadRequests(
  run: Run,
  client: OpenCode,
  ids: PromptIds,
  messages: readonly WireMessage[],
  waiting: ReadonlySet<string>,
): Promise<readonly string[]> {
  const children = run.live.reply?.childSessions();
  const isOurs = (id: string) => id === ids.sessionId || children?.has(id) === true;
  const isExpired = expiredAmong(run, ids, messages);
  const [questions, permissions] = await Promise.all([
    listed(client.questions(ids.directory, run.signal)),
    listed(client.permissions(ids.directory, run.signal)),
  ]);
  const open = new Set<string>();
  for (const [type, requests] of [
    ['question.asked', questions],
    ['permission.asked', permissions],
  ] as const) {
    for (const request of requests ?? []) {
      if (!isOurs(request.sessionID) || isExpired(request)) continue;
      open.add(request.id);
      run.live.reply?.apply({ type, properties: request } as Parameters<typeof run.live.reply.apply>[0]);
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
  run: Run,
  { promptMessageId }: PromptIds,
  messages: readonly WireMessage[],
): (request: Request) => boolean {
  const ids = messages.map(({ info }) => info.id);
  const earlier = new Set(ids.slice(0, Math.max(0, ids.indexOf(promptMessageId))));
  const ended = new Set(run.live.reply?.result().toolParts.map(callKey));
  return (request) => {
    const call = askingCall(request);
    return call !== undefined && (ended.has(call) || earlier.has(request.tool?.messageID ?? ''));
  };
}
