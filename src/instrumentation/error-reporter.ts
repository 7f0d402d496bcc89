import { printable } from './printable.ts';

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
}

/** The default: one line on stderr, without stack traces, prompt text or file contents; nothing in it moves a terminal. */
export const consoleReporter: ErrorReporter = {
  report(error, context) {
    const { action, severity = 'error', ...facts } = context;
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const rest = Object.entries(facts).map(([key, value]) => `${key}=${String(value)}`);
    console.error(printable([`[opencode-turns] ${severity} in ${action}: ${message}`, ...rest].join(' ')));
  },
};

/** Wraps a host's reporter so that one that throws costs only its own report. */
export function safeReporter(reporter: ErrorReporter): ErrorReporter {
  return {
    report(error, context) {
      try {
        reporter.report(error, context);
      } catch (failure) {
        consoleReporter.report(failure, { action: 'error-reporter.report', reported: context.action });
      }
    },
  };
}
