import { z } from 'zod';
import { checkConfig } from '../checking/check-config.ts';
import { wholeNumber } from '../checking/numbers.ts';

/** What of `eventStream`'s options is a setting. */
export const webSchema = z.strictObject({
  heartbeatMs: wholeNumber(100, 600_000).default(15_000).meta({
    description: 'a comment is sent to a browser after so much silence, so that proxies keep the connection',
  }),
});

/** Throws InvalidConfigError. */
export const webSettings = (given: {
  readonly heartbeatMs?: number | undefined;
}): z.output<typeof webSchema> => checkConfig(webSchema, given, '');
