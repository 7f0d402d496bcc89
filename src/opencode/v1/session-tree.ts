import { SessionNotFoundError } from '../../errors.ts';
import type { WireMessage, WireSession, WireSessionStatus } from '../../reply/wire.ts';
import type { OpenCode } from './server.ts';

/** How far below a session is looked. Upstream allows one level unless a project sets its `subagent_depth`. */
const maxDepth = 8;
/** A session that carries many turns has all of their sub-agents: the ones that were used last count. */
const maxListings = 50;

/** Whether one of the sessions runs, or waits to ask its provider again. Idle ones are absent, as a rule. */
export function isBusy(
  statuses: Readonly<Record<string, WireSessionStatus>>,
  sessionIds: readonly string[],
): boolean {
  return sessionIds.some((id) => statuses[id] !== undefined && statuses[id].type !== 'idle');
}

/**
 * Whether the messages of all these sessions say that nothing runs there, whatever their status: a status may be kept by
 * something in between, or never be set back. One that was deleted says nothing more. Throws what else the client throws.
 */
export async function areOver(
  client: Pick<OpenCode, 'messages'>,
  sessionIds: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  for (const id of sessionIds) {
    try {
      if (!isOver(await client.messages(id, signal))) return false;
    } catch (error) {
      if (!(error instanceof SessionNotFoundError)) throw error;
    }
  }
  return true;
}

/** The last message is an answer that is complete, and that no further step follows. */
function isOver(messages: readonly WireMessage[]): boolean {
  const last = messages.at(-1)?.info;
  if (last?.role !== 'assistant' || last.time.completed === undefined) return false;
  return last.error !== undefined || (last.finish !== undefined && last.finish !== 'tool-calls');
}

/**
 * The sub-agents' sessions below these ones, parents before children: upstream lists direct children only, and a
 * sub-agent may have sub-agents. Bounded in depth and in what is asked. One that was deleted has none below it. Throws
 * what else the client throws.
 */
export async function sessionsBelow(
  client: Pick<OpenCode, 'children'>,
  sessionIds: readonly string[],
  signal: AbortSignal,
): Promise<readonly WireSession[]> {
  const seen = new Set(sessionIds);
  const found: WireSession[] = [];
  let level = sessionIds;
  let listings = 0;
  for (let depth = 0; depth < maxDepth && level.length > 0; depth += 1) {
    const next: WireSession[] = [];
    for (const id of level.slice(0, maxListings - listings)) {
      listings += 1;
      for (const child of await childrenOf(client, id, signal)) {
        if (seen.has(child.id)) continue;
        seen.add(child.id);
        next.push(child);
      }
    }
    next.sort((a, b) => usedAt(b) - usedAt(a));
    found.push(...next);
    level = next.map(({ id }) => id);
  }
  return found;
}

async function childrenOf(client: Pick<OpenCode, 'children'>, sessionId: string, signal: AbortSignal) {
  try {
    return await client.children(sessionId, signal);
  } catch (error) {
    if (error instanceof SessionNotFoundError) return [];
    throw error;
  }
}

const usedAt = ({ time }: WireSession) => time?.updated ?? 0;
