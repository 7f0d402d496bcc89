/** Which fields a command takes. Any other is refused: what it asks for would silently not be done. */
import { CommandError } from './errors.ts';
import { numberOf } from './numbers.ts';
import { type Doc, isDoc, isOfType } from './values.ts';

/** Make no difference here: there is one thread, one user, one node, and nothing outlives the process. */
const harmless = ['$db', 'lsid', '$readPreference', 'comment', 'maxTimeMS', 'readConcern', 'writeConcern'];
const writes = ['ordered', 'bypassDocumentValidation'];

const fields: Readonly<Record<string, readonly string[]>> = {
  find: [
    'filter',
    'sort',
    'projection',
    'skip',
    'limit',
    'batchSize',
    'singleBatch',
    'noCursorTimeout',
    'allowDiskUse',
  ],
  explain: ['verbosity'],
  getMore: ['collection', 'batchSize'],
  killCursors: ['cursors'],
  count: ['query'],
  distinct: ['key', 'query'],
  aggregate: ['pipeline', 'cursor', 'allowDiskUse'],
  insert: ['documents', ...writes],
  update: ['updates', ...writes],
  delete: ['deletes', ...writes],
  findAndModify: ['query', 'sort', 'update', 'remove', 'new', 'upsert', 'fields', 'arrayFilters', ...writes],
  create: ['autoIndexId'],
  createIndexes: ['indexes', 'commitQuorum'],
  listIndexes: ['cursor'],
  dropIndexes: ['index'],
  drop: [],
  dropDatabase: [],
  listCollections: ['filter', 'cursor', 'nameOnly', 'authorizedCollections'],
  listDatabases: ['filter', 'nameOnly', 'authorizedDatabases'],
};
export const updateFields = ['q', 'u', 'multi', 'upsert', 'arrayFilters', 'sort'];
export const deleteFields = ['q', 'limit'];

/** Refuses the fields of a command that are not known here, and what only a replica set can do. */
export function checkOptions(command: string, body: Doc): void {
  for (const name of ['startTransaction', 'autocommit', 'txnNumber']) {
    if (body[name] !== undefined)
      throw new CommandError(20, 'Transaction numbers are only allowed on a replica set member or mongos');
  }
  const level = isDoc(body.readConcern) ? body.readConcern.level : undefined;
  if (level === 'snapshot' || level === 'linearizable')
    throw new CommandError(123, `node needs to be a replica set member to use readConcern: ${level}`);
  const w = isDoc(body.writeConcern) ? body.writeConcern.w : undefined;
  if (w !== undefined && isOfType(w, 'number') && numberOf(w) > 1)
    throw new CommandError(2, "cannot use 'w' > 1 when a host is not replicated");
  const known = Object.hasOwn(fields, command) ? fields[command] : undefined;
  if (known) onlyKnown(body, [command, ...known, ...harmless], command);
}

export function onlyKnown(doc: Doc, known: readonly string[], what: string): void {
  const unknown = Object.keys(doc).find((field) => !known.includes(field));
  if (unknown !== undefined)
    throw new CommandError(40415, `BSON field '${what}.${unknown}' is an unknown field here.`);
}
