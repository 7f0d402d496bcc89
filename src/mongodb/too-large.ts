import { messageOf } from '../errors.ts';

/**
 * Codes of a document that is too large: InvalidBSON (22, as some engines answer), as it is written (10334), as an
 * update would leave it (17419), as an upsert would make it (17420). Source: `src/mongo/base/error_codes.yml` and the
 * update stage of MongoDB. The others are Node's, thrown by the driver's serializer at the end of its buffer.
 */
const codes = new Set<unknown>([22, 10334, 17419, 17420, 'ERR_OUT_OF_RANGE', 'ERR_STRING_TOO_LONG']);

/** Whether the same write fails again for its size, whoever makes it and whenever. */
export function isTooLarge(error: unknown): boolean {
  const { code, writeErrors } = (error ?? {}) as { code?: unknown; writeErrors?: unknown };
  const first = [writeErrors].flat()[0] as { code?: unknown } | undefined;
  // The driver has no code for what it refuses itself.
  return codes.has(code) || codes.has(first?.code) || /^Document is larger than/.test(messageOf(error));
}
