import { BSONRegExp } from 'bson';
import { checkFilter } from './check-filter.ts';
import { CommandError, duplicateKey } from './errors.ts';
import { isOperators, leaves, matches } from './match.ts';
import { type Doc, equal, isDoc, keyOf } from './values.ts';

export interface IndexSpec {
  readonly key: Doc;
  readonly name: string;
  readonly unique?: boolean;
  readonly sparse?: boolean;
  readonly partialFilterExpression?: Doc;
}

const known = new Set([
  'key',
  'name',
  'unique',
  'sparse',
  'partialFilterExpression',
  'background',
  'v',
  'ns',
]);

/** Refuses every option whose meaning would otherwise be lost without a word. */
export function parseIndexSpec(raw: Doc): IndexSpec {
  const { key, name } = raw;
  if (!isDoc(key) || Object.keys(key).length === 0)
    throw new CommandError(67, 'Index keys cannot be an empty object');
  for (const [field, direction] of Object.entries(key)) {
    if (direction !== 1 && direction !== -1)
      throw new CommandError(67, `this server has no index of kind '${String(direction)}' (${field})`);
    if (field.includes('$')) throw new CommandError(67, 'this server has no wildcard indexes');
  }
  for (const option of Object.keys(raw)) {
    if (!known.has(option))
      throw new CommandError(67, `this server does not know the index option '${option}'`);
  }
  const unique = isSet(raw, 'unique');
  const sparse = isSet(raw, 'sparse');
  const partial = partialFilter(raw);
  if (partial && sparse)
    throw new CommandError(67, 'cannot mix "partialFilterExpression" and "sparse" options');
  return {
    key,
    name: typeof name === 'string' ? name : Object.entries(key).flat().join('_'),
    ...(unique ? { unique } : {}),
    ...(sparse ? { sparse } : {}),
    ...(partial ? { partialFilterExpression: partial } : {}),
  };
}

function isSet(raw: Doc, option: string): boolean {
  const value = raw[option] ?? false;
  if (typeof value === 'boolean' || typeof value === 'number') return Boolean(value);
  throw new CommandError(14, `The field '${option}' has to be a boolean`);
}

/** A condition on the other elements of an array could put a document out of an index that a query finds it by. */
const partialOperators = new Set(['$eq', '$exists', '$gt', '$gte', '$lt', '$lte', '$type']);

function partialFilter({ partialFilterExpression: filter }: Doc): Doc | undefined {
  if (filter === undefined) return undefined;
  if (!isDoc(filter)) throw new CommandError(14, "'partialFilterExpression' has to be an object");
  checkFilter(filter);
  for (const [field, condition] of Object.entries(filter)) {
    const operators = isOperators(condition) ? Object.keys(condition) : [];
    const refused = [field, ...operators].find((name) => name.startsWith('$') && !partialOperators.has(name));
    const negative = isDoc(condition) && (condition.$exists ?? true) !== true;
    if (refused !== undefined || negative || condition instanceof BSONRegExp)
      throw new CommandError(67, `unsupported expression in partial index: ${refused ?? field}`);
  }
  return filter;
}

/** A hash index: equality over all its fields, or over the first one. Keeps ids of documents, by their key text. */
export class CollectionIndex {
  readonly spec: IndexSpec;
  readonly #fields: readonly (readonly string[])[];
  readonly #full = new Map<string, Set<string>>();
  readonly #first = new Map<string, Set<string>>();

  constructor(spec: IndexSpec) {
    this.spec = spec;
    this.#fields = Object.keys(spec.key).map((field) => field.split('.'));
  }

  /** Throws 171 for a document without keys here, E11000 when another one than `id` has one of its keys. */
  check(id: string, doc: Doc, namespace: string): void {
    for (const values of this.#keys(doc)) {
      if (!this.spec.unique) continue;
      const holders = this.#full.get(textOf(values));
      if (!holders || (holders.size === 1 && holders.has(id))) continue;
      const value = Object.fromEntries(Object.keys(this.spec.key).map((field, at) => [field, values[at]]));
      throw duplicateKey(namespace, this.spec.name, this.spec.key, value);
    }
  }

  add(id: string, doc: Doc): void {
    for (const values of this.#keys(doc)) {
      into(this.#full, textOf(values), id);
      into(this.#first, keyOf(values[0]), id);
    }
  }

  remove(id: string, doc: Doc): void {
    for (const values of this.#keys(doc)) {
      outOf(this.#full, textOf(values), id);
      outOf(this.#first, keyOf(values[0]), id);
    }
  }

  /** Ids that may match, or undefined when this index says nothing about the filter. */
  candidates(filter: Doc): ReadonlySet<string> | undefined {
    if (!this.#covers(filter)) return undefined;
    const fields = Object.keys(this.spec.key);
    const values = fields.map((field) => equalityOf(filter, field));
    if (values.every((value) => value !== undefined))
      return this.#full.get(textOf(values.map((value) => value?.of))) ?? nothing;
    return values[0] === undefined ? undefined : (this.#first.get(keyOf(values[0].of)) ?? nothing);
  }

  /** A sparse or partial index holds only some documents: it may be asked when all that match are among them. */
  #covers(filter: Doc): boolean {
    if (this.spec.sparse)
      return Object.keys(this.spec.key).every((field) => (equalityOf(filter, field)?.of ?? null) !== null);
    return Object.entries(this.spec.partialFilterExpression ?? {}).every(([field, condition]) => {
      const wanted = equalityOf(filter, field);
      if (wanted === undefined || !matches({ value: wanted.of }, { value: condition })) return false;
      // A query for null also wants the documents that lack the field, which may be left out.
      return (wanted.of ?? null) !== null || matches({}, { value: condition });
    });
  }

  *#keys(doc: Doc): Generator<unknown[]> {
    const { sparse, partialFilterExpression } = this.spec;
    if (partialFilterExpression && !matches(doc, partialFilterExpression)) return;
    const lists = this.#fields.map((path) => valuesAt(doc, path));
    if (sparse && lists.every(({ absent }) => absent)) return;
    if (lists.filter(({ multi }) => multi).length > 1)
      throw new CommandError(171, 'cannot index parallel arrays');
    const seen = new Set<string>();
    for (const values of product(lists.map(({ values: one }) => one))) {
      const text = textOf(values);
      if (!seen.has(text)) yield values;
      seen.add(text);
    }
  }
}

const nothing: ReadonlySet<string> = new Set();
const textOf = (values: readonly unknown[]) => values.map(keyOf).join('\u0000');

function valuesAt(doc: Doc, path: readonly string[]): { values: unknown[]; multi: boolean; absent: boolean } {
  const found = [...leaves(doc, path)];
  const multi = found.length !== 1 || Array.isArray(found[0]);
  const values = found.flatMap((leaf) =>
    Array.isArray(leaf) ? (leaf.length === 0 ? [undefined] : leaf) : [leaf],
  );
  const plain = values.map((value) => (typeof value === 'symbol' ? null : value));
  return {
    values: plain.length === 0 ? [null] : plain,
    multi,
    absent: found.every((leaf) => typeof leaf === 'symbol'),
  };
}

function product(lists: readonly unknown[][]): unknown[][] {
  return lists.reduce<unknown[][]>(
    (rows, list) => rows.flatMap((row) => list.map((value) => [...row, value])),
    [[]],
  );
}

/** The value that a filter demands a field to equal; in a box, since null is one. */
function equalityOf(filter: Doc, field: string): { of: unknown } | undefined {
  const condition = filter[field];
  if (condition === undefined || condition instanceof BSONRegExp || Array.isArray(condition))
    return undefined;
  if (!isOperators(condition)) return { of: condition };
  return '$eq' in condition && !Array.isArray(condition.$eq) ? { of: condition.$eq } : undefined;
}

function into(map: Map<string, Set<string>>, key: string, id: string): void {
  const ids = map.get(key);
  if (ids) ids.add(id);
  else map.set(key, new Set([id]));
}

function outOf(map: Map<string, Set<string>>, key: string, id: string): void {
  const ids = map.get(key);
  ids?.delete(id);
  if (ids?.size === 0) map.delete(key);
}

/** Whether two specifications are the same index. */
export function sameSpec(a: IndexSpec, b: IndexSpec): boolean {
  return equal({ ...a, name: '' }, { ...b, name: '' });
}
