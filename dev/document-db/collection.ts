import { BSONRegExp, calculateObjectSize, ObjectId, serialize } from 'bson';
import { checkFilter } from './check-filter.ts';
import { checkUpdate } from './check-update.ts';
import { CollectionIndex, type IndexScan, type IndexSpec, sameSpec } from './collection-index.ts';
import { CommandError, duplicateKey } from './errors.ts';
import { matches } from './match.ts';
import { compareBy } from './sort.ts';
import { applyUpdate } from './update.ts';
import { upsertSeed } from './upsert-seed.ts';
import { type Doc, equal, keyOf } from './values.ts';

const maxDocumentBytes = 16 * 1024 * 1024;

export interface UpdateRequest {
  readonly filter: Doc;
  readonly update: Doc;
  readonly multi?: boolean;
  readonly upsert?: boolean;
  readonly sort?: Doc | undefined;
  readonly arrayFilters?: readonly Doc[];
}

export interface UpdateResult {
  readonly matched: number;
  readonly modified: number;
  readonly upserted?: Doc;
  /** The last document that was matched, before and after. */
  readonly before?: Doc;
  readonly after?: Doc;
}

/** What was found, by which index, and how many documents were read for it. */
export interface Search {
  readonly docs: Doc[];
  readonly examined: number;
  readonly index?: string;
}

/**
 * Documents with their indexes. Every method runs to its end without giving way, which is what makes each
 * command atomic. Stored documents are never changed in place: a reader that holds one keeps what it read.
 */
export class Collection {
  readonly namespace: string;
  readonly #docs = new Map<string, Doc>();
  readonly #indexes: CollectionIndex[] = [
    new CollectionIndex({ key: { _id: 1 }, name: '_id_', unique: true }),
  ];

  constructor(namespace: string) {
    this.namespace = namespace;
  }

  get size(): number {
    return this.#docs.size;
  }

  get indexes(): readonly IndexSpec[] {
    return this.#indexes.map(({ spec }) => spec);
  }

  find(filter: Doc, sort: Doc = {}, limit = 0): Doc[] {
    return this.search(filter, sort, limit).docs;
  }

  /**
   * At most `limit` documents, all for 0. An index that has them in order is read until there are enough, unless that takes longer than
   * to read all that another one leads to: then these are sorted.
   */
  search(filter: Doc, sort: Doc = {}, limit = 0): Search {
    checkFilter(filter);
    const compare = compareBy(sort);
    const enough = limit || Number.POSITIVE_INFINITY;
    const scans = this.#indexes.flatMap((index) => index.scan(filter, sort) ?? []);
    const isOrdered = Object.keys(sort).length > 0;
    const smallest = least(scans);
    const inOrder = isOrdered ? least(scans.filter(({ isSorted }) => isSorted)) : smallest;
    if (inOrder) {
      const most = smallest === inOrder ? Number.POSITIVE_INFINITY : (smallest?.count ?? this.#docs.size);
      const found = this.#read(inOrder.ids(), filter, enough, most);
      if (found) return { ...found, index: inOrder.index };
    }
    const ids = smallest ? smallest.ids() : this.#docs.keys();
    const all = this.#read(ids, filter, isOrdered ? Number.POSITIVE_INFINITY : enough);
    const { docs = [], examined = 0 } = all ?? {};
    const sorted = isOrdered ? docs.sort(compare).slice(0, limit || undefined) : docs;
    return { docs: sorted, examined, ...(smallest ? { index: smallest.index } : {}) };
  }

  insert(raw: Doc): void {
    const { _id = new ObjectId(), ...rest } = raw;
    if (Array.isArray(_id) || _id instanceof BSONRegExp)
      throw new CommandError(2, 'The _id field cannot be an array or regex');
    this.#put(keyOf(_id), { _id, ...rest }, undefined);
  }

  update({
    filter,
    update,
    multi = false,
    upsert = false,
    sort,
    arrayFilters = [],
  }: UpdateRequest): UpdateResult {
    checkUpdate({ update, multi, arrayFilters });
    const targets = this.find(filter, sort, multi ? 0 : 1);
    if (targets.length === 0 && upsert) return this.#upsert(filter, update, arrayFilters);
    let modified = 0;
    let last: { before?: Doc; after?: Doc } = {};
    for (const before of targets) {
      const after = applyUpdate(before, update, { filter, arrayFilters, inserting: false });
      last = { before, after };
      if (unchanged(before, after)) continue;
      this.#put(keyOf(before._id), after, before);
      modified += 1;
    }
    return { matched: targets.length, modified, ...last };
  }

  delete(filter: Doc, limit: number, sort?: Doc): Doc[] {
    const targets = this.find(filter, sort, limit);
    for (const doc of targets) {
      const id = keyOf(doc._id);
      this.#docs.delete(id);
      for (const index of this.#indexes) index.remove(id, doc);
    }
    return targets;
  }

  /** False when it exists already. Throws 85/86 for a clash, E11000 when the documents break it. */
  createIndex(spec: IndexSpec): boolean {
    const named = this.#indexes.find((index) => index.spec.name === spec.name);
    if (named && sameSpec(named.spec, spec)) return false;
    if (named)
      throw new CommandError(86, `An existing index has the same name as the requested index: ${spec.name}`);
    const alike = this.#indexes.find(
      (index) =>
        equal(index.spec.key, spec.key) &&
        equal(index.spec.partialFilterExpression, spec.partialFilterExpression),
    );
    if (alike)
      throw new CommandError(85, `Index already exists with a different name or options: ${alike.spec.name}`);
    const index = new CollectionIndex(spec);
    for (const [id, doc] of this.#docs) {
      index.check(id, doc, this.namespace);
      index.add(id, doc);
    }
    this.#indexes.push(index);
    return true;
  }

  dropIndex(name: string): void {
    if (name === '_id_') throw new CommandError(72, 'cannot drop _id index');
    const at = this.#indexes.findIndex((index) => index.spec.name === name);
    if (at < 0) throw new CommandError(27, `index not found with name [${name}]`);
    this.#indexes.splice(at, 1);
  }

  #upsert(filter: Doc, update: Doc, arrayFilters: readonly Doc[]): UpdateResult {
    const made = applyUpdate(upsertSeed(filter), update, { filter, arrayFilters, inserting: true });
    const { _id = new ObjectId(), ...rest } = made;
    const after = { _id, ...rest };
    this.insert(after);
    return { matched: 0, modified: 0, upserted: after, after };
  }

  /** Undefined when more than `most` would have to be read for it. */
  #read(
    ids: Iterable<string>,
    filter: Doc,
    enough: number,
    most = Number.POSITIVE_INFINITY,
  ): { docs: Doc[]; examined: number } | undefined {
    const docs: Doc[] = [];
    let examined = 0;
    for (const id of ids) {
      if (docs.length >= enough) break;
      if (examined >= most) return undefined;
      const doc = this.#docs.get(id);
      if (!doc) continue;
      examined += 1;
      if (matches(doc, filter)) docs.push(doc);
    }
    return { docs, examined };
  }

  /** All indexes agree before anything changes: a refused write leaves no trace. */
  #put(id: string, doc: Doc, before: Doc | undefined): void {
    const bytes = calculateObjectSize(doc);
    if (bytes > maxDocumentBytes)
      throw new CommandError(
        10334,
        `BSONObj size: ${bytes} is invalid. Size must be between 0 and ${maxDocumentBytes}`,
      );
    // The indexes know documents by their id: to them, a second one with the same id is the first one.
    if (!before && this.#docs.has(id))
      throw duplicateKey(this.namespace, '_id_', { _id: 1 }, { _id: doc._id });
    for (const index of this.#indexes) index.check(id, doc, this.namespace);
    if (before) for (const index of this.#indexes) index.remove(id, before);
    this.#docs.set(id, doc);
    for (const index of this.#indexes) index.add(id, doc);
  }
}

/** To the byte: 12.5 and 12.50 are equal, and yet one in place of the other is a change. */
const unchanged = (before: Doc, after: Doc): boolean =>
  equal(before, after) && Buffer.compare(serialize(before), serialize(after)) === 0;

const least = (scans: readonly IndexScan[]): IndexScan | undefined =>
  scans.reduce<IndexScan | undefined>(
    (best, scan) => (best && best.count <= scan.count ? best : scan),
    undefined,
  );
