import type { mongo } from 'mongoose';
import { IndexConflictError } from '../errors.ts';
import { mongoCall } from './errors.ts';
import { plainCause } from './plain-cause.ts';
import { Patience } from './settled.ts';

/** An index as a schema or a createIndex call asks for it. */
export interface WantedIndex {
  readonly key: Readonly<Record<string, unknown>>;
  readonly name?: string;
  readonly unique?: boolean;
  readonly partialFilterExpression?: object;
}

/** Documents that are named in an error; there may be a million. */
const maxNamed = 10;
/** Bound of the search for them, in a collection of any size. */
const searchMs = 60_000;

/**
 * Runs the building of these indexes, which may be run again after an error that passes. Errors as `mongoCall`, and
 * IndexConflictError where one of them is the reason.
 */
export function building(
  collection: mongo.Collection,
  wanted: readonly WantedIndex[],
  build: () => Promise<unknown>,
): Promise<void> {
  return mongoCall(async () => {
    const patience = new Patience();
    for (;;) {
      try {
        await build();
        return;
      } catch (error) {
        // Servers say it with 85, 86, 11000 or 1, in words of their own: what is there says it better.
        const conflict = await indexConflict(collection, wanted, error).catch(() => undefined);
        if (conflict) throw conflict;
        await patience.failed(error);
      }
    }
  });
}

/**
 * What stands in the way of these indexes, after their building has failed: an index of the same name or fields that
 * differs, or documents that a unique one cannot hold. Undefined when nothing is found; throws what the driver throws.
 */
async function indexConflict(
  collection: mongo.Collection,
  wanted: readonly WantedIndex[],
  cause: unknown,
): Promise<IndexConflictError | undefined> {
  const { collectionName } = collection;
  const existing = (await collection.indexes()) as unknown as readonly WantedIndex[];
  for (const index of wanted) {
    const name = index.name ?? defaultName(index);
    const same = existing.find((other) => other.name === name || shape(other.key) === shape(index.key));
    if (same && rule(same) === rule(index) && same.name === name) continue;
    if (same) {
      const problem = `it has an index "${same.name}" of ${rule(same)}, where ${rule(index)} under the name "${name}" is needed; if nothing else needs that one, drop it (db.getCollection("${collectionName}").dropIndex("${same.name}")) and build again`;
      return new IndexConflictError(collectionName, name, problem, [], { cause: plainCause(cause) });
    }
    const documents = index.unique ? await duplicates(collection, index) : [];
    if (documents.length === 0) continue;
    const problem = `the unique index "${name}" of ${shape(index.key)} cannot hold these documents, which are alike in that: ${documents.join(', ')}; change or remove all but one of each kind, and build again`;
    return new IndexConflictError(collectionName, name, problem, documents, { cause: plainCause(cause) });
  }
  return undefined;
}

/** Some documents whose key another one has, next to each other. */
async function duplicates(
  collection: mongo.Collection,
  { key, partialFilterExpression = {} }: WantedIndex,
): Promise<readonly string[]> {
  const fields = Object.keys(key);
  const cursor = collection
    .find(partialFilterExpression, { allowDiskUse: true, maxTimeMS: searchMs })
    .project(Object.fromEntries(fields.map((field) => [field, 1])))
    .sort(Object.fromEntries(fields.map((field) => [field, 1])));
  const found = new Set<string>();
  let before: { id: string; value: string } | undefined;
  for await (const document of cursor) {
    const value = JSON.stringify(fields.map((field) => valueAt(document, field.split('.')) ?? null));
    const here = { id: String(document._id), value };
    if (before?.value === value) found.add(before.id).add(here.id);
    if (found.size >= maxNamed) break;
    before = here;
  }
  return [...found];
}

function valueAt(value: unknown, [first, ...rest]: readonly string[]): unknown {
  if (first === undefined || typeof value !== 'object' || value === null) return first ? undefined : value;
  return valueAt((value as Record<string, unknown>)[first], rest);
}

/** MongoDB's own choice for an index that was given none. */
const defaultName = ({ key }: WantedIndex) =>
  Object.entries(key)
    .map(([field, way]) => `${field}_${way}`)
    .join('_');

/** `{ a: 1, b: -1 }` */
const shape = (key: WantedIndex['key']) =>
  `{ ${Object.entries(key)
    .map(([field, way]) => `${field}: ${way}`)
    .join(', ')} }`;

function rule({ key, unique, partialFilterExpression }: WantedIndex): string {
  const filter = partialFilterExpression ? ` where ${JSON.stringify(partialFilterExpression)}` : '';
  return `${unique ? 'unique ' : ''}${shape(key)}${filter}`;
}
