import type { z } from 'zod';
import { ForeignAnswerError, SessionNotFoundError } from '../errors.ts';
import type { Tracer } from '../instrumentation/tracer.ts';
import { type Answer, meaningOf, problemOf, type RouteKind } from './answer.ts';
import { ask, type Question } from './ask.ts';
import type { ServerProbe } from './probe.ts';
import type { Transport } from './transport.ts';

/** What OpenCode's own "not found" means on a route, once a second poll has said the same. */
interface Absent<T> {
  /** True when another request says, too, that it is not there. One answer alone may be anybody's mistake. */
  readonly confirmed: (signal?: AbortSignal) => Promise<boolean>;
  /** What the call returns then. Without it, it is the session that is gone: SessionNotFoundError. */
  readonly answer?: T;
}

export interface Call<T> extends Question {
  /** What the body must be at least; unknown fields are kept. */
  readonly schema: z.ZodType<T>;
  /** What kind of answer the route gives. Default `json`. */
  readonly route?: RouteKind;
  readonly absent?: Absent<T>;
}

export interface CallDeps {
  readonly transport: Transport;
  readonly tracer: Tracer;
  /** Asked before each call; told when an answer is none of OpenCode's. */
  readonly probe?: ServerProbe | undefined;
}

/**
 * One request under a time limit. Network failures, statuses and bodies become our error classes; an abort by
 * the caller rejects with the caller's own reason. Nothing is ever sent twice.
 */
export async function upstreamCall<T>(call: Call<T>, deps: CallDeps, signal?: AbortSignal): Promise<T> {
  const { method, path, route = 'json' } = call;
  const attributes = { 'http.request.method': method, 'url.template': path };
  return deps.tracer.span('opencode.request', { kind: 'client', attributes }, async (span) => {
    signal?.throwIfAborted();
    await deps.probe?.ensure(signal);
    const answer = await ask(call, deps.transport, signal);
    span.set({ 'http.response.status_code': answer.status });
    const { meaning, json } = meaningOf(answer, route);
    if (meaning === 'foreign') deps.probe?.doubt();
    if (meaning === 'absent' && call.absent) return absent(call, call.absent, answer, signal);
    if (meaning !== 'ok') throw problemOf(meaning, answer, { method, path });
    const parsed = call.schema.safeParse(route === 'json' ? json : answer.body);
    if (parsed.success) return parsed.data;
    const facts = { method, path, status: answer.status };
    throw new ForeignAnswerError('the answer is not what the route promises', facts, { cause: parsed.error });
  });
}

async function absent<T>(
  { method, path }: Call<T>,
  what: Absent<T>,
  answer: Answer,
  signal: AbortSignal | undefined,
): Promise<T> {
  const facts = { method, path, status: answer.status };
  if (!(await what.confirmed(signal)))
    throw new ForeignAnswerError('answered "not found" for what a second poll finds', facts);
  if ('answer' in what) return what.answer as T;
  throw new SessionNotFoundError('the session is not there, as a second poll confirms', facts);
}
