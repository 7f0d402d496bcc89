import type { ErrorReporter, ReportContext } from './error-reporter.ts';
import { sayingOf } from './printable.ts';

export interface CalmOptions {
  /** The same warning is told at most once in this time. Default 60,000 ms. */
  readonly everyMs?: number;
  /** Kinds of warnings that are remembered at once; of more, the oldest is forgotten. Default 200. */
  readonly maxKinds?: number;
}

interface Kind {
  unreported: number;
  last: { error: unknown; context: ReportContext };
}

/**
 * Keeps a service that is away from filling the log: warnings of one kind are told once, then counted, then told again
 * once a minute with `repeated`, the number of those in between. Errors pass as they are: each is about something that
 * will not be made good. Two warnings are of a kind when action and message are the same but for numbers and ids, so
 * what a thousand turns meet is told once. A kind holds a timer until nothing of it came for a minute.
 */
export function calmReporter(
  reporter: ErrorReporter,
  { everyMs = 60_000, maxKinds = 200 }: CalmOptions = {},
): ErrorReporter {
  const kinds = new Map<string, Kind>();

  const tellLater = (key: string, kind: Kind): void => {
    setTimeout(() => {
      if (kinds.get(key) !== kind) return;
      if (kind.unreported === 0) {
        kinds.delete(key);
        return;
      }
      tellCount(kind);
      tellLater(key, kind);
    }, everyMs).unref();
  };
  const tellCount = (kind: Kind): void => {
    const { error, context } = kind.last;
    reporter.report(error, { ...context, repeated: kind.unreported });
    kind.unreported = 0;
  };
  const makeRoom = (): void => {
    const [oldest] = kinds;
    if (kinds.size < maxKinds || !oldest) return;
    kinds.delete(oldest[0]);
    if (oldest[1].unreported > 0) tellCount(oldest[1]);
  };

  return {
    note: (what, facts) => reporter.note?.(what, facts),
    report(error, context) {
      if (context.severity !== 'warning') return reporter.report(error, context);
      const key = kindOf(error, context);
      const known = kinds.get(key);
      if (known) {
        known.unreported += 1;
        known.last = { error, context };
        return;
      }
      makeRoom();
      const kind: Kind = { unreported: 0, last: { error, context } };
      kinds.set(key, kind);
      tellLater(key, kind);
      reporter.report(error, context);
    },
  };
}

const maxKeyLength = 500;

function kindOf(error: unknown, { action }: ReportContext): string {
  return `${action} ${sayingOf(error).replace(/[0-9a-f]{8,}|\d+/gi, '#')}`.slice(0, maxKeyLength);
}
