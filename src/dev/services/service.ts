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

export function refuseProduction(): void {
  if (process.env.NODE_ENV === 'production') {
    throw new Error('development services are not for production: NODE_ENV is "production"');
  }
}
