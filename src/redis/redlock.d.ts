/** redlock 5.0.0-beta.2 ships types that its `exports` hide; this is the part that is used here. */
declare module 'redlock' {
  import type { EventEmitter } from 'node:events';

  /** What it calls of a client, which need not be a connection. */
  export interface Client {
    evalsha(hash: string, keys: number, args: readonly (string | number)[]): Promise<unknown>;
    eval(lua: string, keys: number, args: readonly (string | number)[]): Promise<unknown>;
  }

  export interface Lock {
    readonly expiration: number;
    release(): Promise<unknown>;
    extend(durationMs: number): Promise<Lock>;
  }

  export interface Settings {
    readonly driftFactor?: number;
    readonly retryCount?: number;
    readonly retryDelay?: number;
    readonly retryJitter?: number;
    readonly automaticExtensionThreshold?: number;
  }

  export class ResourceLockedError extends Error {}

  export class ExecutionError extends Error {
    readonly attempts: readonly Promise<{ readonly votesAgainst: ReadonlyMap<unknown, Error> }>[];
  }

  export default class Redlock extends EventEmitter {
    constructor(clients: Iterable<Client>, settings?: Settings);
    acquire(resources: string[], durationMs: number, settings?: Settings): Promise<Lock>;
  }
}
