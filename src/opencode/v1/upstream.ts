import { noticed } from '../../ports/noticed.ts';
import type { Upstream } from '../../ports/upstream.ts';
import type { Clock } from '../../timing/clock.ts';
import { applyRules } from './apply-rules.ts';
import { followPrompt } from './follow.ts';
import { hasLostInstance } from './read-turn.ts';
import { respond } from './respond.ts';
import type { EventFeed, OpenCode } from './server.ts';
import { isBusy } from './session-tree.ts';
import { createSession, sessionOf } from './sessions.ts';
import { stopRun } from './stop.ts';
import { isUpstream, submit } from './submit.ts';
import { hasEnded } from './verdict.ts';

export interface UpstreamParts {
  readonly client: OpenCode;
  readonly feed: EventFeed;
  /** Message and part ids in the server's own format, minted at the moment of the call. */
  readonly ids: { message(): string; part(): string };
  readonly clock: Clock;
}

/** An OpenCode 1.18 server as a turn needs it: the port, on its routes and its stream. */
export function upstreamV1(parts: UpstreamParts): Upstream {
  const { client, feed, ids: mint, clock } = parts;
  return {
    server: client.server,
    noticedBy: (observer) => upstreamV1({ ...parts, client: noticed(client, observer) }),

    createSession: (session, signal) => createSession(client, session, signal),
    session: async (id, signal) => sessionOf(await client.getSession(id, signal)),
    sessionsIn: async (directory, signal) => (await client.sessions(directory, signal)).map(sessionOf),
    sessionsSince: async (since, limit, signal) =>
      (await client.recentSessions(since, limit, signal)).map(sessionOf),
    hasMessages: async (id, signal) => (await client.messages(id, signal)).length > 0,
    deleteSession: (id, signal) => client.deleteSession(id, signal),
    applyRules: (id, rules, change, signal) => applyRules(client, id, rules, change, signal),

    newPrompt: () => ({ promptMessageId: mint.message(), promptPartId: mint.part() }),
    submit: (ids, prompt, change, signal) => submit(client, ids, prompt, change, signal),
    has: (ids, signal) => isUpstream(client, ids, signal),
    follow: (ids, options, sink) => followPrompt({ client, feed }, ids, options, sink),
    hasEnded,
    isLost: (ids, exchange, signal) => hasLostInstance(client, ids, exchange, signal),
    messages: (sessionId, signal) => client.messages(sessionId, signal),

    isBusy: async ({ sessionId, directory }, signal) =>
      isBusy(await client.statuses(directory, signal), [sessionId]),
    abort: ({ sessionId, directory }, signal) => client.abortSession(sessionId, directory, signal),
    stop: (run, { timeoutMs, ...options }, signal) =>
      stopRun({ ...options, client, run, clock }, timeoutMs, signal),

    respond: ({ directory }, request, answer, signal) => respond(client, directory, request, answer, signal),

    providers: (directory, signal) => client.providers(directory, signal),
    readFile: (file, signal) => client.readFile(file, signal),
  };
}
