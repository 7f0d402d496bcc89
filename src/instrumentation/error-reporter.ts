import { printable, sayingOf, shown } from './printable.ts';
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

/** The default: one line on stderr, without stack traces, prompt text or file contents; nothing in it moves a terminal. */
export const consoleReporter: ErrorReporter = {
  report(error, context) {
    const { action, severity = 'error', ...facts } = context;
    tell(`${severity} in ${action}: ${sayingOf(error)}`, Object.entries(facts));
  },
  note(what, facts) {
    tell(
      what,
      Object.entries(facts).filter(([, value]) => value !== undefined),
    );
  },
};

function tell(what: string, facts: readonly (readonly [string, unknown])[]): void {
  const rest = facts.map(([key, value]) => `${key}=${shown(value)}`);
  console.error(printable([`[opencode-turns] ${what}`, ...rest].join(' ')));
}

/** A host's reporter that can break nothing: what it fails with costs its own report, and is told on stderr. */
export function safeReporter(reporter: ErrorReporter): ErrorReporter {
  const safely = (reported: string, call: () => unknown) => {
    safeCall(call, (error) => consoleReporter.report(error, { action: 'error-reporter.report', reported }));
  };
  return {
    report: (error, context) => safely(context.action, () => reporter.report(error, context)),
    note: (what, facts) => safely(what, () => reporter.note?.(what, facts)),
  };
}
