import { Collection } from './collection.ts';
import { CommandError } from './errors.ts';

/** All databases and their collections, in memory. A collection exists once something was written to it. */
export class Databases {
  readonly #databases = new Map<string, Map<string, Collection>>();

  names(): string[] {
    return [...this.#databases].flatMap(([name, collections]) => (collections.size > 0 ? [name] : []));
  }

  collections(database: string): readonly [string, Collection][] {
    return [...(this.#databases.get(database) ?? [])];
  }

  find(database: string, name: string): Collection | undefined {
    return this.#databases.get(database)?.get(name);
  }

  /** Made when absent. `created` says so. */
  open(database: string, name: string): { collection: Collection; created: boolean } {
    if (name === '' || name.includes('$') || name.includes('\u0000'))
      throw new CommandError(73, `Invalid collection name: ${name}`);
    const known = this.find(database, name);
    if (known) return { collection: known, created: false };
    const collection = new Collection(`${database}.${name}`);
    const collections = this.#databases.get(database) ?? new Map<string, Collection>();
    this.#databases.set(database, collections.set(name, collection));
    return { collection, created: true };
  }

  drop(database: string, name: string): Collection | undefined {
    const collection = this.find(database, name);
    this.#databases.get(database)?.delete(name);
    return collection;
  }

  dropDatabase(database: string): void {
    this.#databases.delete(database);
  }
}
