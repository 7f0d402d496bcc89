/**
 * Why a turn ended badly: a stable reason for programs, one plain sentence for people, and apart from both what
 * upstream said. Pure.
 */
import { isTurnsError, messageOf } from '../errors.ts';
import { type FailureReason, sentences } from './failure-sentences.ts';
import type { TurnFailure } from './stored-turn.ts';

/** The longest text of upstream's that is kept, in UTF-16 units. */
const maxDetailLength = 1_000;

/** What upstream says of an error: its message, the session's, or the one that comes with a retry. */
export interface UpstreamSaid {
  readonly name?: string | undefined;
  readonly message: string;
  readonly statusCode?: number | undefined;
}

interface FailureFacts {
  readonly detail?: string | undefined;
  readonly name?: string | undefined;
  readonly statusCode?: number | undefined;
}

interface Row {
  readonly reason: string;
  readonly names?: readonly string[];
  readonly statuses?: readonly number[];
  readonly text?: RegExp;
}

/**
 * The first row counts whose error name, status or words are there. Names are upstream's (OpenCode 1.18.33); words are
 * those of providers, which put the same thing under many statuses.
 */
const rows: readonly Row[] = [
  { reason: 'unknown_agent', text: /^Agent not found/ },
  {
    reason: 'unknown_model',
    text: /model not found|no such model|model .{0,100}(does not exist|not exist)/i,
  },
  {
    reason: 'context_overflow',
    names: ['ContextOverflowError'],
    text: /context.?length|maximum context|context window|prompt is too long|input is too long/i,
  },
  { reason: 'output_limit', names: ['MessageOutputLengthError'] },
  {
    reason: 'content_filter',
    names: ['ContentFilterError'],
    text: /content.?(filter|management|policy)|safety (system|filter)/i,
  },
  {
    reason: 'quota_exceeded',
    statuses: [402],
    text: /insufficient.?(quota|credit|balance|fund)|current quota|quota exceeded|credit balance|billing/i,
  },
  { reason: 'rate_limited', statuses: [429], text: /rate.?limit|too many requests/i },
  {
    reason: 'provider_authentication',
    names: ['ProviderAuthError'],
    statuses: [401, 403],
    text: /api.?key|unauthori[sz]ed|invalid.{0,20}(token|credential)/i,
  },
  { reason: 'missing_directory', text: /FileSystem\.realPath|ENOENT.{0,20}(chdir|scandir|posix_spawn)/ },
  { reason: 'provider_failed', statuses: [500, 502, 503, 504, 529], text: /overloaded/i },
  {
    reason: 'provider_unreachable',
    text: /cannot connect to api|unable to connect|ECONN(REFUSED|RESET)|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|socket connection/i,
  },
];

/** What upstream's error means; `upstream_error` when nobody here knows. */
export function upstreamFailure({ name, message, statusCode }: UpstreamSaid): TurnFailure {
  const row = rows.find(
    ({ names, statuses, text }) =>
      (name !== undefined && names?.includes(name)) ||
      (statusCode !== undefined && statuses?.includes(statusCode)) ||
      text?.test(message.slice(0, maxDetailLength)),
  );
  return turnFailure(row?.reason ?? 'upstream_error', { detail: message, name, statusCode });
}

/** Whether somebody here knows what upstream's error means. */
export const isExplained = ({ reason }: TurnFailure): boolean => reason !== 'upstream_error';

/** A failure of our own, or one that is known already; `detail` may be anybody's text and of any length. */
export function turnFailure(reason: string, facts: FailureFacts = {}): TurnFailure {
  const { name, statusCode } = facts;
  const detail = detailOf(facts.detail);
  return {
    // Of an error or a limit that has no sentence yet; a test holds that each has one.
    reason: reason as FailureReason,
    message: sentenceOf(reason),
    ...(detail === undefined ? {} : { detail }),
    ...(name === undefined ? {} : { name }),
    ...(statusCode === undefined ? {} : { statusCode }),
  };
}

/** What an error of this library ends a turn with. */
export function failureOfError(error: unknown): TurnFailure {
  return turnFailure(isTurnsError(error) ? error.code : 'internal', { detail: messageOf(error) });
}

/** The sentence for people; a neutral one for a reason that is not in the table. */
export const sentenceOf = (reason: string): string =>
  Object.hasOwn(sentences, reason) ? (sentences[reason] as string) : (sentences.internal as string);

/**
 * Without the server's stack, which tells nobody what to do. Cut first: the pattern goes over a run of empty lines again
 * from each of them, and upstream may send millions.
 */
function detailOf(text: string | undefined): string | undefined {
  const beginning = text?.trim().slice(0, 2 * maxDetailLength);
  const [said = ''] = beginning?.split(/\n\s+at /, 1) ?? [];
  return said.trim() === '' ? undefined : said.trim().slice(0, maxDetailLength);
}
