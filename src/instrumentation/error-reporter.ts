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
  /** What happened and is no error, in one line: `turn finished`. A reporter without it is not told. */
  note?(what: string, facts: Readonly<Record<string, unknown>>): void;
}

/** The default: one line on stderr, without stack traces, prompt text or file contents; nothing in it moves a terminal. */
export const consoleReporter: ErrorReporter = {
  report(error, context) {
    const { action, severity = 'error', ...facts } = context;
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const rest = Object.entries(facts).map(([key, value]) => `${key}=${String(value)}`);
    console.error(printable([`[opencode-turns] ${severity} in ${action}: ${message}`, ...rest].join(' ')));
  },
  note(what, facts) {
    const rest = Object.entries(facts).filter(([, value]) => value !== undefined);
    console.error(
      [`[opencode-turns] ${what}`, ...rest.map(([key, value]) => `${key}=${String(value)}`)].join(' '),
    );
  },
};

/** Wraps a host's reporter so that one that throws, now or later, costs only its own report. Nobody waits for it. */
export function safeReporter(reporter: ErrorReporter): ErrorReporter {
  const safely = (reported: string, call: () => unknown) => {
    const failed = (error: unknown) =>
      consoleReporter.report(error, { action: 'error-reporter.report', reported });
    try {
      // An async one that fails would end the process as an unhandled rejection.
      Promise.resolve(call()).catch(failed);
    } catch (error) {
      failed(error);
    }
  };
  return {
    report: (error, context) => safely(context.action, () => reporter.report(error, context)),
    note: (what, facts) => safely(what, () => reporter.note?.(what, facts)),
  };
}
