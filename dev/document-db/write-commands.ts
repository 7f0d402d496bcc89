/** Commands that change documents. Each runs to its end without giving way. */
import type { Collection, UpdateRequest } from './collection.ts';
import { type CommandContext, countOf, docOf, listOf, nameOf } from './context.ts';
import { CommandError } from './errors.ts';
import { deleteFields, onlyKnown, updateFields } from './options.ts';
import { projection } from './projection.ts';
import { type Doc, isDoc } from './values.ts';

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
      run(docOf(statement ?? null, 'statement'), index);
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
    onlyKnown(statement, updateFields, 'update.updates');
    const result = collection.update(requestOf(docOf(statement.q ?? null, 'q'), statement.u, statement));
    nModified += result.modified;
    n += result.upserted ? 1 : result.matched;
    if (result.upserted) upserted.push({ index, _id: result.upserted._id });
  });
  return { n, nModified, ...(upserted.length > 0 ? { upserted } : {}), ...errors };
}

export function deleteMany(body: Doc, context: CommandContext): Doc {
  const collection = open(body, 'delete', context);
  let n = 0;
  const errors = each(body.deletes, body.ordered, (statement) => {
    onlyKnown(statement, deleteFields, 'delete.deletes');
    const limit = countOf(statement.limit, 'limit');
    if (limit !== 0 && limit !== 1)
      throw new CommandError(9, 'The limit field in delete objects must be 0 or 1.');
    n += collection.delete(docOf(statement.q ?? null, 'q'), limit).length;
  });
  return { n, ...errors };
}

export function findAndModify(body: Doc, context: CommandContext): Doc {
  const collection = open(body, 'findAndModify', context);
  const query = docOf(body.query, 'query');
  const sort = docOf(body.sort, 'sort');
  const show = projection(docOf(body.fields, 'fields'));
  const shown = (doc: Doc | undefined) => (doc ? show(doc) : null);
  if (body.remove === true) {
    if (body.update !== undefined || body.new === true || body.upsert === true)
      throw new CommandError(9, 'Cannot specify update, new or upsert along with remove');
    const [removed] = collection.delete(query, 1, sort);
    return { value: shown(removed), lastErrorObject: { n: removed ? 1 : 0 } };
  }
  const { matched, upserted, before, after } = collection.update({
    ...requestOf(query, body.update, body),
    multi: false,
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
  return {
    filter,
    update,
    multi: options.multi === true,
    upsert: options.upsert === true,
    sort: docOf(options.sort, 'sort'),
    ...(options.arrayFilters === undefined
      ? {}
      : { arrayFilters: listOf(options.arrayFilters, 'arrayFilters') }),
  };
}
