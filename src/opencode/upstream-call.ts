import type { z } from 'zod';
import {
  AuthenticationError,
  BadRequestError,
  ConnectionError,
  messageOf,
  ServerError,
  SessionNotFoundError,
  TimeoutError,
  type UpstreamFacts,
} from '../errors.ts';
import type { Tracer } from '../instrumentation/tracer.ts';
import { TimeLimit } from '../timing/time-limit.ts';

/** What the generated client answers when it is not told to throw. */
interface SdkResult {
  readonly data?: unknown;
  readonly error?: unknown;
  readonly response?: Response | undefined;
}

export interface Call<T> {
  readonly method: string;
  /** The route's template, without ids: it goes into errors and spans. */
  readonly path: string;
  readonly timeoutMs: number;
  readonly send: (signal: AbortSignal) => Promise<SdkResult>;
  /** What the body must be at least; unknown fields are kept. */
  readonly schema: z.ZodType<T>;
  /** Answer for a 404 that means "not there" instead of an error. */
  readonly absent?: T;
  /** A 404 on this route says that the session is gone. */
  readonly ofSession?: boolean;
}

const maxBodyLength = 500;

/**
 * One request under a time limit. Network failures, statuses and bodies become our error classes; an abort by
 * the caller rejects with the caller's own reason. Nothing is ever sent twice.
 */
export async function upstreamCall<T>(call: Call<T>, tracer: Tracer, signal?: AbortSignal): Promise<T> {
  const { method, path } = call;
  const attributes = { 'http.request.method': method, 'url.template': path };
  return tracer.span('opencode.request', { kind: 'client', attributes }, async (span) => {
    signal?.throwIfAborted();
    const limit = new TimeLimit(call.timeoutMs, signal);
    try {
      const { data, error, response } = await answer(call, limit, signal);
      span.set({ 'http.response.status_code': response.status });
      if (!response.ok) return failed(call, response.status, error, { method, path });
      const parsed = call.schema.safeParse(data);
      if (parsed.success) return parsed.data;
      const facts = { method, path, status: response.status };
      throw new ServerError('the answer is not what the route promises', facts, { cause: parsed.error });
    } finally {
      limit.end();
    }
  });
}

/** Sends, and answers what came back; everything that is no answer becomes an error. */
async function answer(
  { method, path, timeoutMs, send }: Call<unknown>,
  limit: TimeLimit,
  signal: AbortSignal | undefined,
): Promise<SdkResult & { readonly response: Response }> {
  const facts = { method, path };
  const late = (cause: unknown) => new TimeoutError(`no answer within ${timeoutMs} ms`, facts, { cause });
  let result: SdkResult;
  try {
    result = await send(limit.signal);
  } catch (cause) {
    signal?.throwIfAborted();
    if (limit.passed) throw late(cause);
    // The client throws by itself only for bodies that it cannot parse, such as HTML.
    throw new ServerError('the answer is not what the route promises', facts, { cause });
  }
  const { response, error: cause } = result;
  if (response) return { ...result, response };
  signal?.throwIfAborted();
  throw limit.passed ? late(cause) : new ConnectionError(networkProblem(cause), facts, { cause });
}

function failed<T>(call: Call<T>, status: number, error: unknown, facts: UpstreamFacts): T {
  if (status === 404 && 'absent' in call) return call.absent as T;
  const body = bodyText(error);
  const all = { ...facts, status, ...(body === '' ? {} : { body }) };
  const problem = `answered ${status}${body === '' ? '' : `: ${body}`}`;
  if (status === 401) throw new AuthenticationError(`${problem}; check user name and password`, all);
  if (status === 404 && call.ofSession) throw new SessionNotFoundError(problem, all);
  if (status >= 400 && status < 500) throw new BadRequestError(problem, all);
  throw new ServerError(problem, all);
}

function bodyText(error: unknown): string {
  if (error === undefined || error === null) return '';
  const text = typeof error === 'string' ? error : (JSON.stringify(error) ?? '');
  return text === '{}' ? '' : text.slice(0, maxBodyLength);
}

function networkProblem(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  const code =
    typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : undefined;
  return `cannot be reached (${code ?? messageOf(error)})`;
}
