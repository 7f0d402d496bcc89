import { isDeepStrictEqual } from 'node:util';
import type { Model } from 'mongoose';
import { InvalidConfigError } from '../errors.ts';
import { mongoCall } from './errors.ts';

/** A unique index that correctness rests on. */
export interface NeededIndex {
  readonly key: Readonly<Record<string, unknown>>;
  readonly partialFilterExpression?: unknown;
}

/** A collection, as far as this needs it. */
export interface IndexedCollection {
  readonly collectionName: string;
  indexes(): Promise<readonly IndexInfo[]>;
}

interface IndexInfo {
  readonly key?: unknown;
  readonly unique?: unknown;
  readonly partialFilterExpression?: unknown;
}

const how = 'build it once, at deploy time, with turns.createIndexes()';

/**
 * Refuses to go on without the unique indexes that order, fencing and "exactly once" rest on: by their keys, whatever
 * they are called. Throws InvalidConfigError that names the first one missing, ServiceUnavailableError.
 */
export async function checkIndexes(
  collection: IndexedCollection,
  needed: readonly NeededIndex[],
): Promise<void> {
  const known = await mongoCall(() => indexesOf(collection));
  for (const { key, partialFilterExpression } of needed) {
    const fields = Object.keys(key).join(', ');
    const refuse = (problem: string) =>
      new InvalidConfigError('mongo', `the collection "${collection.collectionName}" ${problem}`);
    // The order of its fields is part of an index: an object compares without it.
    const same = known.filter((index) => JSON.stringify(index.key) === JSON.stringify(key));
    if (same.length === 0) throw refuse(`has no unique index on ${fields}; ${how}`);
    const unique = same.filter((index) => index.unique === true);
    if (unique.length === 0)
      throw refuse(`has an index on ${fields} that is not unique; drop it, then ${how}`);
    const wanted = plainFilter(partialFilterExpression);
    if (!unique.some((index) => isDeepStrictEqual(plainFilter(index.partialFilterExpression), wanted)))
      throw refuse(`has a unique index on ${fields} over other documents; drop it, then ${how}`);
  }
}

/** The unique indexes of a model's schema; of a host's own model only those on our fields. */
export function neededIndexes(model: Model<never>, field?: string): readonly NeededIndex[] {
  return model.schema
    .indexes()
    .filter(([key, { unique }]) => unique === true && (field === undefined || field in key))
    .map(([key, { partialFilterExpression }]) => ({
      key,
      ...(partialFilterExpression ? { partialFilterExpression } : {}),
    }));
}

/** MongoDB's answer for a collection that is not there yet. */
const namespaceNotFound = 26;

async function indexesOf(collection: IndexedCollection): Promise<readonly IndexInfo[]> {
  try {
    return await collection.indexes();
  } catch (error) {
    if ((error as { code?: unknown }).code === namespaceNotFound) return [];
    throw error;
  }
}

/** `{ a: 1 }` and `{ a: { $eq: 1 } }` are one filter; engines differ in how they give it back. */
function plainFilter(filter: unknown): unknown {
  if (typeof filter !== 'object' || filter === null) return undefined;
  const entries = Object.entries(filter).map(([field, condition]) => {
    const operators = typeof condition === 'object' && condition !== null ? Object.keys(condition) : [];
    const equals = operators.length === 1 && operators[0] === '$eq';
    return [field, equals ? (condition as { $eq: unknown }).$eq : condition] as const;
  });
  return Object.fromEntries(entries);
}
