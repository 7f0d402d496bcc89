import { errorType } from './attributes.ts';
import { consoleLogger, type Logger } from './logger.ts';
import { sayingOf } from './printable.ts';
import { safeCall } from './safe-call.ts';

/**
 * Where errors go that were handled and must still be seen by somebody: a throwing observer, a failed
 * best-effort delete, a hook of the host. `report` never throws into its caller.
 */
export interface ReportContext {
  /** What was being done, in the words of the code: `session.abort`, `observer.partAdded`. */
  readonly action: string;
  readonly severity?: 'warning' | 'error';
  readonly [fact: string]: unknown;
}

export interface ErrorReporter {
  report(error: unknown, context: ReportContext): void;
  /** What happened and is no error, in one line: `turn finished`. A reporter without it is not told. */
  note?(what: string, facts: Readonly<Record<string, unknown>>): void;
}

/** Errors and notes as lines of a logger: `action`, the error's `code` or class, and the facts are its fields. */
export function loggingReporter(logger: Logger): ErrorReporter {
  return {
    report(error, { severity, ...facts }) {
      const level = severity === 'warning' ? 'warn' : 'error';
      logger[level]({ code: errorType(error), ...facts }, sayingOf(error));
    },
    note: (what, facts) => logger.info(facts, what),
  };
}

/** One line on stderr: see `consoleLogger`. */
export const consoleReporter: ErrorReporter = loggingReporter(consoleLogger);

/** A host's reporter that can break nothing: what it fails with costs its own report, and is told to `instead`. */
export function safeReporter(
  reporter: ErrorReporter,
  instead: ErrorReporter = consoleReporter,
): ErrorReporter {
  const safely = (reported: string, call: () => unknown) => {
    safeCall(call, (error) =>
      instead.report(error, { action: 'error-reporter.report', severity: 'warning', reported }),
    );
  };
  return {
    report: (error, context) => safely(context.action, () => reporter.report(error, context)),
    note: (what, facts) => safely(what, () => reporter.note?.(what, facts)),
  };
}
