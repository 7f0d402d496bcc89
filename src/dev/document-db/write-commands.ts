/** Commands that change documents. Each runs to its end without giving way. */
import type { Collection, UpdateRequest } from './collection.ts';
import { type CommandContext, docOf, nameOf } from './context.ts';
import { CommandError } from './errors.ts';
import { project } from './projection.ts';
import { type Doc, isDoc, numberOf } from './values.ts';

interface WriteError {
  readonly index: number;
  readonly code: number;
  readonly errmsg: string;
}

function open(body: Doc, field: string, { databases, database }: CommandContext): Collection {
  return databases.open(database, nameOf(body[field])).collection;
}

/** Runs each statement; an ordered batch ends at its first error, an unordered one collects them. */
function each(
  statements: unknown,
  ordered: unknown,
  run: (statement: Doc, index: number) => void,
): { writeErrors?: WriteError[] } {
  if (!Array.isArray(statements) || statements.length === 0)
    throw new CommandError(16, 'Write batch sizes must be between 1 and 100000');
  const writeErrors: WriteError[] = [];
  for (const [index, statement] of statements.entries()) {
    try {
      run(docOf(statement), index);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      writeErrors.push({ index, code: error.code, errmsg: error.message, ...error.extra });
      if (ordered !== false) break;
    }
  }
  return writeErrors.length > 0 ? { writeErrors } : {};
}

export function insertMany(body: Doc, context: CommandContext): Doc {
  const collection = open(body, 'insert', context);
  let n = 0;
  const errors = each(body.documents, body.ordered, (doc) => {
    collection.insert(doc);
    n += 1;
  });
  return { n, ...errors };
}

export function updateMany(body: Doc, context: CommandContext): Doc {
  const collection = open(body, 'update', context);
  let n = 0;
  let nModified = 0;
  const upserted: Doc[] = [];
  const errors = each(body.updates, body.ordered, (statement, index) => {
    const result = collection.update(requestOf(docOf(statement.q), statement.u, statement));
    nModified += result.modified;
    n += result.upserted ? 1 : result.matched;
    if (result.upserted) upserted.push({ index, _id: result.upserted._id });
  });
  return { n, nModified, ...(upserted.length > 0 ? { upserted } : {}), ...errors };
}

export function deleteMany(body: Doc, context: CommandContext): Doc {
  const collection = open(body, 'delete', context);
  let n = 0;
  const errors = each(body.deletes, body.ordered, ({ q, limit }) => {
    n += collection.delete(docOf(q), Number(numberOf(limit ?? 0))).length;
  });
  return { n, ...errors };
}

export function findAndModify(body: Doc, context: CommandContext): Doc {
  const collection = open(body, 'findAndModify' in body ? 'findAndModify' : 'findandmodify', context);
  const query = docOf(body.query);
  const sort = isDoc(body.sort) ? body.sort : undefined;
  const shown = (doc: Doc | undefined) => (doc ? project(doc, docOf(body.fields)) : null);
  if (body.remove === true) {
    const [removed] = collection.delete(query, 1, sort);
    return { value: shown(removed), lastErrorObject: { n: removed ? 1 : 0 } };
  }
  const { matched, upserted, before, after } = collection.update({
    ...requestOf(query, body.update, body),
    sort,
  });
  const value = shown(body.new === true ? after : before);
  const n = matched + (upserted ? 1 : 0);
  return {
    value,
    lastErrorObject: { n, updatedExisting: matched > 0, ...(upserted ? { upserted: upserted._id } : {}) },
  };
}

function requestOf(filter: Doc, update: unknown, options: Doc): UpdateRequest {
  if (Array.isArray(update)) throw new CommandError(2, 'this server has no pipeline updates');
  if (!isDoc(update)) throw new CommandError(9, 'Update argument must be an object');
  if (options.collation !== undefined) throw new CommandError(2, 'this server has no collations');
  return {
    filter,
    update,
    multi: options.multi === true,
    upsert: options.upsert === true,
    ...(isDoc(options.sort) ? { sort: options.sort } : {}),
    ...(Array.isArray(options.arrayFilters) ? { arrayFilters: options.arrayFilters.map(docOf) } : {}),
  };
}
