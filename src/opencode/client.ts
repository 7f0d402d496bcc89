import { createOpencodeClient } from '@opencode-ai/sdk/v2/client';
import { z } from 'zod';
import { noopTracer, type Tracer } from '../instrumentation/tracer.ts';
import type {
  WireMessage,
  WirePermission,
  WireQuestion,
  WireSession,
  WireSessionStatus,
} from '../reply/wire.ts';
import type { OpenCode } from '../turn/ports.ts';
import type { ServerAddress } from './basic-auth.ts';
import { boundedFetch } from './bounded-fetch.ts';
import { readFile } from './read-file.ts';
import { type Call, upstreamCall } from './upstream-call.ts';

export interface OpenCodeClientOptions {
  readonly address: ServerAddress;
  readonly tracer?: Tracer;
  /** For every call that has no longer one of its own. Default 10 s. */
  readonly timeoutMs?: number;
}

// What is used of an answer must be there; everything else passes through as it is.
const session = z.looseObject({ id: z.string().startsWith('ses') }) as unknown as z.ZodType<WireSession>;
const message = z.looseObject({
  info: z.looseObject({
    id: z.string(),
    sessionID: z.string(),
    role: z.enum(['user', 'assistant']),
    time: z.looseObject({ created: z.number(), completed: z.number().optional() }),
  }),
  parts: z.array(
    z.looseObject({ id: z.string(), sessionID: z.string(), messageID: z.string(), type: z.string() }),
  ),
}) as unknown as z.ZodType<WireMessage>;
const status = z.looseObject({
  type: z.enum(['idle', 'busy', 'retry']),
}) as unknown as z.ZodType<WireSessionStatus>;
const request = z.looseObject({ id: z.string(), sessionID: z.string() });
const done = z.unknown().transform(() => undefined as undefined);
const accepted = z.unknown().transform(() => true);
const health = z.looseObject({ healthy: z.literal(true), version: z.string() });

/**
 * Typed calls to one OpenCode server (1.18). Each has a time limit and throws the upstream errors of the
 * catalogue. Session routes use the session's own directory; the others are told theirs.
 */
export function openCodeClient({
  address,
  tracer = noopTracer,
  timeoutMs = 10_000,
}: OpenCodeClientOptions): OpenCode {
  const fetch = boundedFetch();
  const sdk = createOpencodeClient({ baseUrl: address.server, headers: { ...address.headers }, fetch });
  // Reading a long list, and starting a directory's first session, take longer than the rest.
  const longMs = Math.max(timeoutMs, 30_000);
  const run = <T>(call: Omit<Call<T>, 'timeoutMs'> & { timeoutMs?: number }, signal?: AbortSignal) =>
    upstreamCall({ timeoutMs, ...call } as Call<T>, tracer, signal);
  const ofSession = true;

  return {
    server: address.server,
    health: (signal) =>
      run(
        {
          method: 'GET',
          path: '/global/health',
          schema: health,
          send: (s) => sdk.global.health({ signal: s }),
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
      const send = (s: AbortSignal) => sdk.session.create(body, { signal: s });
      return run({ method: 'POST', path: '/session', schema: session, timeoutMs: longMs, send }, signal);
    },
    getSession: (sessionID, signal) =>
      run(
        {
          method: 'GET',
          path: '/session/{id}',
          ofSession,
          schema: session,
          send: (s) => sdk.session.get({ sessionID }, { signal: s }),
        },
        signal,
      ),
    deleteSession: (sessionID, signal) =>
      run(
        {
          method: 'DELETE',
          path: '/session/{id}',
          schema: accepted,
          absent: false,
          send: (s) => sdk.session.delete({ sessionID }, { signal: s }),
        },
        signal,
      ),
    abortSession: (sessionID, directory, signal) =>
      run(
        {
          method: 'POST',
          path: '/session/{id}/abort',
          ofSession,
          schema: done,
          send: (s) => sdk.session.abort({ sessionID, directory }, { signal: s }),
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
          send: (s) => sdk.session.list({ directory }, { signal: s }),
        },
        signal,
      ),
    recentSessions: (start, limit, signal) => {
      const send = (s: AbortSignal) =>
        sdk.experimental.session.list({ start, limit, roots: true }, { signal: s });
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
          ofSession,
          schema: z.array(session),
          send: (s) => sdk.session.children({ sessionID }, { signal: s }),
        },
        signal,
      ),
    prompt: (sessionID, { messageId, parts, ...rest }, signal) => {
      const body = { sessionID, messageID: messageId, parts: parts.map((part) => ({ ...part })), ...rest };
      const send = (s: AbortSignal) => sdk.session.promptAsync(body, { signal: s });
      return run(
        {
          method: 'POST',
          path: '/session/{id}/prompt_async',
          ofSession,
          schema: done,
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
          ofSession,
          schema: z.array(message),
          timeoutMs: longMs,
          send: (s) => sdk.session.messages({ sessionID }, { signal: s }),
        },
        signal,
      ),
    message: (sessionID, messageID, signal) =>
      run<WireMessage | null>(
        {
          method: 'GET',
          path: '/session/{id}/message/{id}',
          schema: message,
          absent: null,
          send: (s) => sdk.session.message({ sessionID, messageID }, { signal: s }),
        },
        signal,
      ),
    statuses: (directory, signal) =>
      run(
        {
          method: 'GET',
          path: '/session/status',
          schema: z.record(z.string(), status),
          send: (s) => sdk.session.status({ directory }, { signal: s }),
        },
        signal,
      ),
    questions: (directory, signal) =>
      run(
        {
          method: 'GET',
          path: '/question',
          schema: z.array(request) as unknown as z.ZodType<WireQuestion[]>,
          send: (s) => sdk.question.list({ directory }, { signal: s }),
        },
        signal,
      ),
    permissions: (directory, signal) =>
      run(
        {
          method: 'GET',
          path: '/permission',
          schema: z.array(request) as unknown as z.ZodType<WirePermission[]>,
          send: (s) => sdk.permission.list({ directory }, { signal: s }),
        },
        signal,
      ),
    replyQuestion: (directory, requestID, answers, signal) => {
      const body = { requestID, directory, answers: answers.map((answer) => [...answer]) };
      const send = (s: AbortSignal) => sdk.question.reply(body, { signal: s });
      return run(
        { method: 'POST', path: '/question/{id}/reply', schema: accepted, absent: false, send },
        signal,
      );
    },
    rejectQuestion: (directory, requestID, signal) =>
      run(
        {
          method: 'POST',
          path: '/question/{id}/reject',
          schema: accepted,
          absent: false,
          send: (s) => sdk.question.reject({ requestID, directory }, { signal: s }),
        },
        signal,
      ),
    replyPermission: (directory, requestID, reply, text, signal) => {
      const body = { requestID, directory, reply, ...(text === undefined ? {} : { message: text }) };
      const send = (s: AbortSignal) => sdk.permission.reply(body, { signal: s });
      return run(
        { method: 'POST', path: '/permission/{id}/reply', schema: accepted, absent: false, send },
        signal,
      );
    },
    readFile: (query, signal) =>
      readFile({ address, fetch }, query, (call) => run({ ...call, timeoutMs: longMs }, signal)),
  };
}
