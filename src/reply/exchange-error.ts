export interface ExchangeError {
  readonly name: string;
  readonly message: string;
  readonly statusCode?: number;
  readonly retryable: boolean;
}

/**
 * An error of a message or a session, of whatever shape: what is no text, number or object there says nothing. Never
 * throws; undefined when there is none.
 */
export function exchangeError(error: unknown): ExchangeError | undefined {
  if (!error) return undefined;
  if (typeof error !== 'object') return { name: 'UnknownError', message: String(error), retryable: false };
  const { name, data } = error as { name?: unknown; data?: unknown };
  const { message, statusCode, isRetryable } = (data ?? {}) as Record<string, unknown>;
  const known = typeof name === 'string' && name !== '' ? name : 'UnknownError';
  return {
    name: known,
    message: typeof message === 'string' ? message : known,
    retryable: isRetryable === true,
    ...(typeof statusCode === 'number' ? { statusCode } : {}),
  };
}
