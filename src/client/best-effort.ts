import type { ClientDeps } from './deps.ts';

/** What was asked for is stored; what is done here only makes it faster. */
export async function bestEffort(
  { reporter }: ClientDeps,
  action: string,
  turnId: string | undefined,
  fn: () => Promise<unknown>,
): Promise<void> {
  try {
    await fn();
  } catch (error) {
    reporter.report(error, { action, severity: 'warning', ...(turnId === undefined ? {} : { turnId }) });
  }
}
