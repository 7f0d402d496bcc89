import { calmReporter } from './calm-reporter.ts';
import { consoleReporter } from './error-reporter.ts';
import type { Logger, LogLevel } from './logger.ts';
import { safeCall } from './safe-call.ts';

/** A host's logger that can break nothing: what it fails with costs its own line, and is told on stderr, once a minute. */
export function safeLogger(logger: Logger): Logger {
  const { report } = calmReporter(consoleReporter);
  const failed = (error: unknown) => report(error, { action: 'logger', severity: 'warning' });
  const line =
    (level: LogLevel): Logger[LogLevel] =>
    (fields, message) => {
      safeCall(() => logger[level](fields, message), failed);
    };
  return { info: line('info'), warn: line('warn'), error: line('error') };
}
