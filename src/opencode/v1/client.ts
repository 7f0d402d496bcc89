import { createOpencodeClient } from '@opencode-ai/sdk/v2/client';
import { z } from 'zod';
import { noopTracer, type Tracer } from '../../instrumentation/tracer.ts';
import type { WireMessage, WirePermission, WireQuestion, WireSession } from '../../reply/wire.ts';
import type { ServerAddress } from '../address.ts';
import { type Call, upstreamCall } from '../http-call.ts';
import type { ServerProbe } from '../probe.ts';
import { openTransport, type Transport } from '../transport.ts';
import {
  accepted,
  empty,
  health,
  instance,
  message,
  providers,
  request,
  session,
  status,
} from './answer-schemas.ts';
import { readFile } from './read-file.ts';
import type { OpenCode } from './server.ts';

export interface OpenCodeClientOptions {
  readonly address: ServerAddress;
  readonly tracer?: Tracer;
  /** Asked before each call. Without one, what the server speaks is taken on trust. */
  readonly probe?: ServerProbe;
  readonly transport?: Transport;
  /** For every call that has no longer one of its own. Default 10 s. */
  readonly timeoutMs?: number;
}

type SendOptions = Parameters<Call<unknown>['send']>[0];

/** Longest body of an answer: lists of messages hold every output of a session's life, the rest is shorter. */
const maxBytes = 64 * 1024 * 1024;
const maxListBytes = 128 * 1024 * 1024;

/**
 * Typed calls to one OpenCode server (1.18). Each has a time limit and throws the upstream errors of the
 * catalogue. Session routes use the session's own directory; the others are told theirs. Only what OpenCode itself
 * calls not found, and a second request confirms, counts as gone.
 */
export function openCodeClient({
  address,
  tracer = noopTracer,
  probe,
  transport = openTransport(),
  timeoutMs = 10_000,
}: OpenCodeClientOptions): OpenCode {
  const sdk = createOpencodeClient({ baseUrl: address.server, headers: { ...address.headers } });
  // Reading a long list, and starting a directory's first session, take longer than the rest.
  const longMs = Math.max(timeoutMs, 30_000);
  const bounds = { timeoutMs, maxBytes };
  const run = <T>(call: Omit<Call<T>, keyof typeof bounds> & Partial<typeof bounds>, signal?: AbortSignal) =>
    upstreamCall<T>({ ...bounds, ...call }, { transport, tracer, probe }, signal);

  /** A session is asked for once more, by another request than the first. */
  const isGone = async (sessionID: string, signal?: AbortSignal): Promise<boolean> => {
    const found = await run<WireSession | null>(
      {
        method: 'GET',
        path: '/session/{id}',
        schema: session,
        absent: { answer: null, confirmed: async () => true },
        send: (s) => sdk.session.get({ sessionID }, s),
      },
      signal,
    );
    return found === null;
  };
  const ofSession = (sessionID: string) => ({ confirmed: (s?: AbortSignal) => isGone(sessionID, s) });
  const listed = async (list: Promise<readonly { readonly id: string }[]>, id: string) =>
    (await list).some((one) => one.id === id);

  const ofQuestion = (directory: string, requestID: string) => ({
    answer: false,
    confirmed: async (s?: AbortSignal) => !(await listed(client.questions(directory, s), requestID)),
  });

  const client: OpenCode = {
    server: address.server,
    health: (signal) =>
      run(
        {
          method: 'GET',
          path: '/global/health',
          schema: health,
          send: (s) => sdk.global.health(s),
        },
        signal,
      ),
    createSession: ({ title, directory, permission, metadata }, signal) => {
      const body = {
        title,
        directory,
        metadata,
        ...(permission ? { permission: permission.map((rule) => ({ ...rule })) } : {}),
      };
      const send = (s: SendOptions) => sdk.session.create(body, s);
      return run({ method: 'POST', path: '/session', schema: session, timeoutMs: longMs, send }, signal);
    },
    getSession: (sessionID, signal) =>
      run(
        {
          method: 'GET',
          path: '/session/{id}',
          absent: ofSession(sessionID),
          schema: session,
          send: (s) => sdk.session.get({ sessionID }, s),
        },
        signal,
      ),
    addPermissions: (sessionID, rules, signal) => {
      const permission = rules.map((rule) => ({ ...rule }));
      const send = (s: SendOptions) => sdk.session.update({ sessionID, permission }, s);
      const absent = ofSession(sessionID);
      return run({ method: 'PATCH', path: '/session/{id}', absent, schema: session, send }, signal);
    },
    deleteSession: (sessionID, signal) =>
      run(
        {
          method: 'DELETE',
          path: '/session/{id}',
          schema: accepted,
          absent: { answer: false, ...ofSession(sessionID) },
          send: (s) => sdk.session.delete({ sessionID }, s),
        },
        signal,
      ),
    abortSession: (sessionID, directory, signal) =>
      run(
        {
          method: 'POST',
          path: '/session/{id}/abort',
          absent: ofSession(sessionID),
          schema: accepted.transform(() => undefined),
          send: (s) => sdk.session.abort({ sessionID, directory }, s),
        },
        signal,
      ),
    sessions: (directory, signal) =>
      run(
        {
          method: 'GET',
          path: '/session',
          schema: z.array(session),
          timeoutMs: longMs,
          send: (s) => sdk.session.list({ directory }, s),
        },
        signal,
      ),
    recentSessions: (start, limit, signal) => {
      const send = (s: SendOptions) => sdk.experimental.session.list({ start, limit, roots: true }, s);
      return run(
        { method: 'GET', path: '/experimental/session', schema: z.array(session), timeoutMs: longMs, send },
        signal,
      );
    },
    children: (sessionID, signal) =>
      run(
        {
          method: 'GET',
          path: '/session/{id}/children',
          absent: ofSession(sessionID),
          schema: z.array(session),
          send: (s) => sdk.session.children({ sessionID }, s),
        },
        signal,
      ),
    prompt: (sessionID, { messageId, parts, ...rest }, signal) => {
      const body = { sessionID, messageID: messageId, parts: parts.map((part) => ({ ...part })), ...rest };
      const send = (s: SendOptions) => sdk.session.promptAsync(body, s);
      return run(
        {
          method: 'POST',
          path: '/session/{id}/prompt_async',
          absent: ofSession(sessionID),
          schema: empty,
          timeoutMs: longMs,
          send,
        },
        signal,
      );
    },
    messages: (sessionID, signal) =>
      run(
        {
          method: 'GET',
          path: '/session/{id}/message',
          absent: ofSession(sessionID),
          schema: z.array(message),
          timeoutMs: longMs,
          maxBytes: maxListBytes,
          send: (s) => sdk.session.messages({ sessionID }, s),
        },
        signal,
      ),
    message: (sessionID, messageID, signal) =>
      run<WireMessage | null>(
        {
          method: 'GET',
          path: '/session/{id}/message/{id}',
          schema: message,
          absent: {
            answer: null,
            confirmed: async (s) => {
              const messages = await client.messages(sessionID, s);
              return !messages.some(({ info }) => info.id === messageID);
            },
          },
          send: (s) => sdk.session.message({ sessionID, messageID }, s),
        },
        signal,
      ),
    statuses: (directory, signal) =>
      run(
        {
          method: 'GET',
          path: '/session/status',
          schema: z.record(z.string(), status),
          send: (s) => sdk.session.status({ directory }, s),
        },
        signal,
      ),
    questions: (directory, signal) =>
      run(
        {
          method: 'GET',
          path: '/question',
          schema: z.array(request) as unknown as z.ZodType<WireQuestion[]>,
          send: (s) => sdk.question.list({ directory }, s),
        },
        signal,
      ),
    permissions: (directory, signal) =>
      run(
        {
          method: 'GET',
          path: '/permission',
          schema: z.array(request) as unknown as z.ZodType<WirePermission[]>,
          send: (s) => sdk.permission.list({ directory }, s),
        },
        signal,
      ),
    instanceStartedAt: (directory, signal) => {
      const send = (s: SendOptions) => sdk.project.current({ directory }, s);
      return run({ method: 'GET', path: '/project/current', schema: instance, send }, signal);
    },
    providers: (directory, signal) =>
      run(
        {
          method: 'GET',
          path: '/config/providers',
          schema: providers,
          send: (s) => sdk.config.providers({ directory }, s),
        },
        signal,
      ),
    replyQuestion: (directory, requestID, answers, signal) => {
      const body = { requestID, directory, answers: answers.map((answer) => [...answer]) };
      const send = (s: SendOptions) => sdk.question.reply(body, s);
      return run(
        {
          method: 'POST',
          path: '/question/{id}/reply',
          schema: accepted,
          absent: ofQuestion(directory, requestID),
          send,
        },
        signal,
      );
    },
    rejectQuestion: (directory, requestID, signal) =>
      run(
        {
          method: 'POST',
          path: '/question/{id}/reject',
          schema: accepted,
          absent: ofQuestion(directory, requestID),
          send: (s) => sdk.question.reject({ requestID, directory }, s),
        },
        signal,
      ),
    replyPermission: (directory, requestID, reply, text, signal) => {
      const body = { requestID, directory, reply, ...(text === undefined ? {} : { message: text }) };
      const send = (s: SendOptions) => sdk.permission.reply(body, s);
      return run(
        {
          method: 'POST',
          path: '/permission/{id}/reply',
          schema: accepted,
          absent: {
            answer: false,
            confirmed: async (s) => !(await listed(client.permissions(directory, s), requestID)),
          },
          send,
        },
        signal,
      );
    },
    readFile: (query, signal) =>
      readFile(address, query, (call) => run({ ...call, timeoutMs: longMs }, signal)),
  };
  return client;
}
