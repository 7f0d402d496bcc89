import { InvalidConfigError, messageOf } from '../../src/errors.ts';

/** A server that was started for development, or one that was there already. */
export interface Service {
  readonly name: string;
  readonly url: string;
  /** What it is, for people: "redis-server 7.0.15 (packages in the cache)". */
  readonly description: string;
  /** Ends what was started here; a server that was there already goes on. May be called twice. */
  stop(): Promise<void>;
}

/** Told while something takes long: a download, a boot. */
export type Progress = (message: string) => void;

/** Throws InvalidConfigError when NODE_ENV is `production`. */
export function refuseProduction(): void {
  if (process.env.NODE_ENV === 'production')
    throw new InvalidConfigError('NODE_ENV', 'is "production", and these services are for development only');
}

/**
 * A server that an environment variable names, once `probe` has spoken with it; it is never stopped. Throws
 * InvalidConfigError that names the variable.
 */
export async function namedService(
  name: string,
  variable: string,
  url: string,
  probe: () => Promise<unknown>,
): Promise<Service> {
  try {
    await probe();
  } catch (cause) {
    throw new InvalidConfigError(variable, messageOf(cause), { cause });
  }
  return { name, url, description: `as ${variable} says`, stop: async () => undefined };
}
