import {
  AuthenticationError,
  BadRequestError,
  ForeignAnswerError,
  RedirectError,
  ServerError,
  type TurnsError,
  type UpstreamFacts,
} from '../errors.ts';
import { printable } from '../instrumentation/printable.ts';

/** What came back, whole and unjudged. */
export interface Answer {
  readonly status: number;
  /** As it was sent; empty when there was none. */
  readonly contentType: string;
  readonly body: Uint8Array;
  readonly retryAfter?: string | undefined;
  readonly location?: string | undefined;
}

/**
 * `ok`: what the route promises. `absent`: OpenCode says that there is no such thing. `invalid`: OpenCode refuses the
 * request. `refused`: a password is wanted. `redirect`, `later` (too early, too much), `broken` (5xx). `foreign`: all
 * that is no answer of OpenCode's interface, whatever its status.
 */
export type Meaning = 'ok' | 'absent' | 'invalid' | 'refused' | 'redirect' | 'later' | 'broken' | 'foreign';

/**
 * `json`: any JSON that says it is. `error`: JSON in one of OpenCode's three shapes of an error. `not found`: of these
 * the one that says so. Each is the one before it, too.
 */
type Body = 'any' | 'empty' | 'page' | 'event stream' | 'json' | 'error' | 'not found';
type Row = readonly [from: number, to: number, body: Body, meaning: Meaning];

const failures: readonly Row[] = [
  [300, 399, 'any', 'redirect'],
  [401, 401, 'any', 'refused'],
  [404, 404, 'not found', 'absent'],
  [408, 408, 'any', 'later'],
  [425, 425, 'any', 'later'],
  [429, 429, 'any', 'later'],
  [400, 499, 'error', 'invalid'],
  [500, 599, 'any', 'broken'],
];

/** Which answer means what, by the kind of route; the first row that fits. What fits none is foreign. */
const tables = {
  json: [[200, 200, 'json', 'ok'], [204, 204, 'empty', 'ok'], ...failures],
  // The bytes of a file are of any type; a web page is one only where a web page was asked for. A file that is not there is a 500 in OpenCode's own words (1.18.33).
  file: [[200, 200, 'page', 'foreign'], [200, 200, 'any', 'ok'], [500, 500, 'error', 'absent'], ...failures],
  page: [[200, 200, 'any', 'ok'], [500, 500, 'error', 'absent'], ...failures],
  events: [[200, 200, 'event stream', 'ok'], ...failures],
} satisfies Record<string, readonly Row[]>;

export type RouteKind = keyof typeof tables;

/** What an answer means, and its JSON when it is `ok` and has any. Pure; the only place that judges statuses and bodies. */
export function meaningOf(answer: Answer, route: RouteKind): { meaning: Meaning; json?: unknown } {
  const rows: readonly Row[] = tables[route];
  let known: ReturnType<typeof bodyOf> | undefined;
  for (const [from, to, body, meaning] of rows) {
    if (answer.status < from || answer.status > to) continue;
    if (body === 'any') return { meaning };
    // Read once: it may be long.
    known ??= bodyOf(answer);
    if (known.kinds.includes(body)) return { meaning, json: known.json };
  }
  return { meaning: 'foreign' };
}

function bodyOf(answer: Answer): { kinds: readonly Body[]; json?: unknown } {
  if (/^text\/event-stream\b/i.test(answer.contentType)) return { kinds: ['event stream'] };
  if (/^text\/html\b/i.test(answer.contentType)) return { kinds: ['page'] };
  if (answer.body.byteLength === 0) return { kinds: ['empty'] };
  const json = jsonOf(answer);
  if (json === undefined) return { kinds: [] };
  const { name, _tag: tag } = (json ?? {}) as { name?: unknown; _tag?: unknown };
  const kind = typeof name === 'string' ? name : tag;
  if (typeof kind !== 'string') return { kinds: ['json'], json };
  return { kinds: kind.endsWith('NotFoundError') ? ['json', 'error', 'not found'] : ['json', 'error'], json };
}

/** The JSON of a body that says it is JSON, else undefined. Pure. */
export function jsonOf({ contentType, body }: Answer): unknown {
  if (!/^application\/json\b/i.test(contentType)) return undefined;
  try {
    return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
  } catch {
    return undefined;
  }
}

/** How much of a body goes into an error. */
const maxShown = 500;

/** The error that says what came back instead of an answer. The body is cut, and safe to print. Pure. */
export function problemOf(
  meaning: Exclude<Meaning, 'ok'>,
  answer: Answer,
  call: Pick<UpstreamFacts, 'method' | 'path'>,
): TurnsError {
  const { status } = answer;
  // Its page names the target, too.
  if (meaning === 'redirect') return new RedirectError(redirectProblem(answer), { ...call, status });
  const text = Buffer.from(answer.body.subarray(0, 4 * maxShown)).toString('utf8');
  const body = printable(text).slice(0, maxShown);
  const wait = waitOf(answer);
  const facts: UpstreamFacts = {
    ...call,
    status,
    ...(body === '' ? {} : { body }),
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
  };
  const type = printable(answer.contentType).slice(0, 100);
  const shown = body === '' ? type && ` with ${type}` : `: ${body}`;
  return problems[meaning](`answered ${status}${shown}`, facts, type || 'no content type');
}

type Problem = (text: string, facts: UpstreamFacts, type: string) => TurnsError;

const problems: Readonly<Record<Exclude<Meaning, 'ok' | 'redirect'>, Problem>> = {
  // Of a route that asks for nothing by name, so that nothing can be missing: this answers another request.
  absent: (_text, facts) =>
    new ForeignAnswerError('answered "not found" where nothing can be missing', facts),
  invalid: (text, facts) => new BadRequestError(text, facts),
  refused: (text, facts) => new AuthenticationError(`${text}; check user name and password`, facts),
  later: (text, facts) => new ServerError(text, facts),
  broken: (text, facts) => new ServerError(text, facts),
  foreign: (_text, facts, type) =>
    new ForeignAnswerError(`the server did not answer as OpenCode (${facts.status} with ${type})`, facts),
};

/** The target's path and query may hold secrets, its origin does not. */
function redirectProblem({ status, location = '' }: Answer): string {
  const target = URL.canParse(location) ? ` to ${new URL(location).origin}` : '';
  return `answered ${status}, a redirect${target} that is not followed; something in front of OpenCode redirects`;
}

/** Seconds or a date (RFC 9110, 10.2.3); undefined when the server did not say. */
function waitOf({ status, retryAfter }: Answer): number | undefined {
  if (retryAfter === undefined || (status !== 429 && status !== 503)) return undefined;
  if (/^\d{1,9}$/.test(retryAfter)) return Number(retryAfter) * 1_000;
  const at = /^[A-Z][a-z]{2}/.test(retryAfter) ? Date.parse(retryAfter) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}
