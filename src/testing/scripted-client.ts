import { readFile } from 'node:fs/promises';
import nodePath from 'node:path';
import { FileTooLargeError, SessionNotFoundError } from '../errors.ts';
import type { OpenCode } from '../opencode/v1/server.ts';
import type { NewSession } from '../ports/upstream.ts';
import type { ScriptedRequests } from './scripted-requests.ts';
import type { ScriptedSession } from './scripted-session.ts';

/** Its name, where a server's address would stand. */
export const scriptedServerName = 'http://scripted.upstream';

interface Options {
  readonly server: {
    readonly sessions: Map<string, ScriptedSession>;
    readonly startedAt: number;
    /** Throws ConnectionError while it is away. */
    assertThere(method: string, path: string): void;
  };
  readonly requests: ScriptedRequests;
  readonly create: (session: NewSession) => ScriptedSession;
}

/** The calls of a scripted server. An abort is heard in front of each; after that they take no time. */
export function scriptedClient({ server, requests, create }: Options): OpenCode {
  const { sessions } = server;
  /** One call: answers a moment later, as one over a network. */
  const call = async <T>(
    path: string,
    signal: AbortSignal | undefined,
    answer: () => T | Promise<T>,
  ): Promise<T> => {
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    server.assertThere('POST', path);
    return answer();
  };
  const session = (id: string): ScriptedSession => {
    const found = sessions.get(id);
    if (found) return found;
    throw new SessionNotFoundError('no such session', { method: 'GET', path: `/session/${id}`, status: 404 });
  };
  const inDirectory = (directory: string) =>
    [...sessions.values()].filter((one) => one.directory === directory);
  const ofDirectory = <T extends { readonly sessionID: string }>(directory: string, open: readonly T[]) =>
    open.filter(({ sessionID }) => sessions.get(sessionID)?.directory === directory);
  const onSession = <T>(id: string, signal: AbortSignal | undefined, answer: (found: ScriptedSession) => T) =>
    call(`/session/${id}`, signal, () => answer(session(id)));

  return {
    server: scriptedServerName,
    health: (signal) => call('/global/health', signal, () => ({ version: '1.18.33' })),
    createSession: (given, signal) => call('/session', signal, () => create(given).wire),
    getSession: (id, signal) => onSession(id, signal, ({ wire }) => wire),
    addPermissions: (id, rules, signal) =>
      onSession(id, signal, (found) => {
        found.addRules(rules);
        return found.wire;
      }),
    deleteSession: (id, signal) => call(`/session/${id}`, signal, () => sessions.delete(id)),
    abortSession: (id, _directory, signal) =>
      call(`/session/${id}/abort`, signal, () => sessions.get(id)?.abort()),
    sessions: (directory, signal) =>
      call('/session', signal, () => inDirectory(directory).map(({ wire }) => wire)),
    recentSessions: (since, limit, signal) =>
      call('/session', signal, () =>
        [...sessions.values()]
          .map(({ wire }) => wire)
          .filter(({ time }) => (time?.updated ?? 0) >= since)
          .reverse()
          .slice(0, limit),
      ),
    children: (id, signal) => onSession(id, signal, () => []),
    prompt: (id, request, signal) => onSession(id, signal, (found) => found.prompt(request)),
    messages: (id, signal) => onSession(id, signal, ({ messages }) => messages),
    message: (id, messageId, signal) =>
      onSession(id, signal, ({ messages }) => messages.find(({ info }) => info.id === messageId) ?? null),
    statuses: (directory, signal) =>
      call('/session/status', signal, () =>
        Object.fromEntries(
          inDirectory(directory)
            .filter(({ busy }) => busy)
            .map(({ id }) => [id, { type: 'busy' as const }]),
        ),
      ),
    questions: (directory, signal) =>
      call('/question', signal, () => ofDirectory(directory, requests.questions)),
    permissions: (directory, signal) =>
      call('/permission', signal, () => ofDirectory(directory, requests.permissions)),
    instanceStartedAt: (_directory, signal) => call('/path', signal, () => server.startedAt),
    providers: (_directory, signal) => call('/provider', signal, () => ['scripted']),
    replyQuestion: (_directory, id, answers, signal) =>
      call(`/question/${id}/reply`, signal, () => requests.answerQuestion(id, answers)),
    rejectQuestion: (_directory, id, signal) =>
      call(`/question/${id}/reject`, signal, () => requests.answerQuestion(id, null)),
    replyPermission: (_directory, id, reply, message, signal) =>
      call(`/permission/${id}/reply`, signal, () =>
        requests.answerPermission(id, { reply, ...(message === undefined ? {} : { message }) }),
      ),
    readFile: ({ directory, path, maxBytes }, signal) =>
      call(`/file/${path}`, signal, () => contentOf(nodePath.join(directory, path), maxBytes)),
  };
}

async function contentOf(file: string, maxBytes: number): Promise<Buffer | null> {
  const content = await readFile(file).catch(() => null);
  if (content && content.byteLength > maxBytes)
    throw new FileTooLargeError(nodePath.basename(file), maxBytes);
  return content;
}
