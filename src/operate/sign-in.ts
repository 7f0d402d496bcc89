import { createHash, timingSafeEqual } from 'node:crypto';
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context, MiddlewareHandler } from 'hono';
import { auth } from 'hono/utils/basic-auth';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { type GuessBounds, GuessLimit } from './guess-limit.ts';

export interface SignInOptions {
  readonly user: string;
  readonly password: string;
  /** Told of each wrong password, with its address and how many there were; never of the password. */
  readonly reporter: ErrorReporter;
  readonly guesses: GuessBounds;
}

/**
 * Basic auth whose guesses are counted. 401 without credentials and for wrong ones, 429 with `Retry-After` for an
 * address that has guessed too often. The address is the socket's: behind a proxy all users share one, and
 * headers that name another are not believed.
 */
export function signIn({ user, password, reporter, guesses }: SignInOptions): MiddlewareHandler {
  const limit = new GuessLimit(guesses);
  const refuse = (context: Context) =>
    context.text('Unauthorized', 401, { 'www-authenticate': 'Basic realm="opencode-turns"' });
  return async (context, next) => {
    const given = auth(context.req.raw);
    // A browser asks without credentials first: that is no guess.
    if (!given) return refuse(context);
    const address = getConnInfo(context).remote.address ?? 'unknown';
    const waitMs = limit.waitMs(address);
    if (waitMs > 0)
      return context.text('Too many wrong passwords', 429, {
        'retry-after': String(Math.ceil(waitMs / 1_000)),
      });
    const right = [same(given.username, user), same(given.password, password)].every(Boolean);
    if (right) return next();
    const count = limit.wrong(address);
    reporter.report(new Error('wrong user name or password'), {
      action: 'board.sign-in',
      severity: 'warning',
      address,
      count,
    });
    return refuse(context);
  };
}

/** Takes the same time whatever was given. */
function same(given: string, wanted: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}
