import { BSONRegExp } from 'bson';
import { checkFilter } from './check-filter.ts';
import { CommandError, duplicateKey } from './errors.ts';
import { isOperators, leaves, matches } from './match.ts';
import { above, boundsOf, orderKey } from './order-key.ts';
import { SortedKeys } from './sorted-keys.ts';
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

/** A way through an index: how many documents it leads to, which ones, and whether they come in the order that was asked for. */
export interface IndexScan {
  readonly index: string;
  readonly count: number;
  readonly isSorted: boolean;
  ids(): Iterable<string>;
}

/**
 * Keeps ids of documents by their keys: in the order of the keys as long as all of them have one (`order-key.ts`) and no field is a
 * list, and always by the text of the whole key and of its first field, for equality.
 */
export class CollectionIndex {
  readonly spec: IndexSpec;
  readonly #fields: readonly string[];
  readonly #paths: readonly (readonly string[])[];
  readonly #full = new Map<string, Set<string>>();
  readonly #first = new Map<string, Set<string>>();
  readonly #sorted = new SortedKeys();
  /** Documents that have no place in the order. */
  #unsorted = 0;

  constructor(spec: IndexSpec) {
    this.spec = spec;
    this.#fields = Object.keys(spec.key);
    this.#paths = this.#fields.map((field) => field.split('.'));
  }

  /** Throws 171 for a document without keys here, E11000 when another one than `id` has one of its keys. */
  check(id: string, doc: Doc, namespace: string): void {
    for (const values of this.#keys(doc).rows) {
      if (!this.spec.unique) continue;
      const holders = this.#full.get(textOf(values));
      if (!holders || (holders.size === 1 && holders.has(id))) continue;
      const value = Object.fromEntries(this.#fields.map((field, at) => [field, values[at]]));
      throw duplicateKey(namespace, this.spec.name, this.spec.key, value);
    }
  }

  add(id: string, doc: Doc): void {
    const keys = this.#keys(doc);
    for (const values of keys.rows) {
      into(this.#full, textOf(values), id);
      into(this.#first, keyOf(values[0]), id);
    }
    const place = placeOf(keys);
    if (place !== undefined) this.#sorted.add(place, id);
    else if (keys.rows.length > 0) this.#unsorted += 1;
  }

  remove(id: string, doc: Doc): void {
    const keys = this.#keys(doc);
    for (const values of keys.rows) {
      outOf(this.#full, textOf(values), id);
      outOf(this.#first, keyOf(values[0]), id);
    }
    const place = placeOf(keys);
    if (place !== undefined) this.#sorted.remove(place, id);
    else if (keys.rows.length > 0) this.#unsorted -= 1;
  }

  /** Undefined when this index says nothing about the filter and the order. */
  scan(filter: Doc, sort: Doc): IndexScan | undefined {
    if (!this.#covers(filter)) return undefined;
    return (this.#unsorted === 0 && this.#rangeScan(filter, sort)) || this.#equalityScan(filter);
  }

  #equalityScan(filter: Doc): IndexScan | undefined {
    const values = this.#fields.map((field) => equalityOf(filter, field));
    const isWhole = values.every((value) => value !== undefined);
    if (values[0] === undefined) return undefined;
    const ids =
      (isWhole
        ? this.#full.get(textOf(values.map((value) => value?.of)))
        : this.#first.get(keyOf(values[0].of))) ?? nothing;
    return { index: this.spec.name, count: ids.size, isSorted: false, ids: () => ids };
  }

  /** Equality on the first fields, then bounds on the next one, or nothing. */
  #rangeScan(filter: Doc, sort: Doc): IndexScan | undefined {
    let prefix = '';
    let at = 0;
    for (; at < this.#fields.length; at += 1) {
      const wanted = equalityOf(filter, this.#fields[at] as string);
      if (wanted === undefined) break;
      const key = orderKey(wanted.of);
      if (key === undefined) return undefined;
      prefix += key;
    }
    const next = this.#fields[at];
    const [low, high] = (next !== undefined && boundsOf(filter[next])) || [];
    const direction = this.#directionOf(sort, at);
    if (at === 0 && low === undefined && (direction === undefined || Object.keys(sort).length === 0))
      return undefined;
    const range = this.#sorted.between(prefix + (low ?? ''), prefix + (high ?? above));
    return {
      index: this.spec.name,
      count: range.end - range.start,
      isSorted: direction !== undefined,
      ids: () => this.#sorted.ids(range, direction ?? 1),
    };
  }

  /** Which way through the index gives this order, with its first fields fixed; undefined when none does. */
  #directionOf(sort: Doc, fixed: number): 1 | -1 | undefined {
    const left = Object.entries(sort).filter(([field]) => !this.#fields.slice(0, fixed).includes(field));
    const [first] = left;
    if (!first) return 1;
    const turn = (field: string, direction: unknown) => Number(direction) * Number(this.spec.key[field]);
    const isSame = left.every(
      ([field, direction], at) =>
        field === this.#fields[fixed + at] &&
        direction === first[1] &&
        turn(field, direction) === turn(...first),
    );
    return isSame ? (first[1] as 1 | -1) : undefined;
  }

  /** A sparse or partial index holds only some documents: it may be asked when all that match are among them. */
  #covers(filter: Doc): boolean {
    if (this.spec.sparse)
      return this.#fields.every((field) => (equalityOf(filter, field)?.of ?? null) !== null);
    return Object.entries(this.spec.partialFilterExpression ?? {}).every(([field, condition]) => {
      const wanted = equalityOf(filter, field);
      if (wanted === undefined || !matches({ value: wanted.of }, { value: condition })) return false;
      // A query for null also wants the documents that lack the field, which may be left out.
      return (wanted.of ?? null) !== null || matches({}, { value: condition });
    });
  }

  #keys(doc: Doc): Keys {
    const { sparse, partialFilterExpression } = this.spec;
    const none = { rows: [], isMulti: false };
    if (partialFilterExpression && !matches(doc, partialFilterExpression)) return none;
    const lists = this.#paths.map((path) => valuesAt(doc, path));
    if (sparse && lists.every(({ absent }) => absent)) return none;
    const multi = lists.filter((list) => list.multi).length;
    if (multi > 1) throw new CommandError(171, 'cannot index parallel arrays');
    const rows = new Map(product(lists.map(({ values }) => values)).map((row) => [textOf(row), row]));
    return { rows: [...rows.values()], isMulti: multi > 0 };
  }
}

/** The keys of one document. */
interface Keys {
  readonly rows: readonly (readonly unknown[])[];
  readonly isMulti: boolean;
}

/** Where a document stands in the order of its index; undefined when it has no place, or several. */
function placeOf({ rows, isMulti }: Keys): string | undefined {
  const [row] = rows;
  if (!row || isMulti) return undefined;
  const keys = row.map(orderKey);
  return keys.includes(undefined) ? undefined : keys.join('');
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
