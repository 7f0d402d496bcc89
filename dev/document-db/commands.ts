/** The table of commands. A command that is not here is refused with code 59. */
import { pipelineOf } from './aggregate.ts';
import { checkFilter } from './check-filter.ts';
import { parseIndexSpec } from './collection-index.ts';
import { type CommandContext, countOf, docOf, listOf, nameOf } from './context.ts';
import { CommandError } from './errors.ts';
import { explain } from './explain.ts';
import { buildInfo, hello, serverStatus } from './identity.ts';
import { leaves, matches } from './match.ts';
import { checkOptions } from './options.ts';
import { projection } from './projection.ts';
import { compareBy } from './sort.ts';
import { type Doc, equal } from './values.ts';
import { deleteMany, findAndModify, insertMany, updateMany } from './write-commands.ts';

type Command = (body: Doc, context: CommandContext) => Doc;

const cursorId = (value: unknown): bigint => {
  if (/^-?\d+$/.test(String(value))) return BigInt(String(value));
  throw new CommandError(14, 'a cursor id has to be a long');
};
const namespaceOf = (body: Doc, field: string, { database }: CommandContext) =>
  `${database}.${nameOf(body[field])}`;

function find(body: Doc, context: CommandContext): Doc {
  const filter = docOf(body.filter, 'filter');
  const sort = docOf(body.sort, 'sort');
  const show = projection(docOf(body.projection, 'projection'));
  const skip = countOf(body.skip, 'skip') ?? 0;
  const limit = countOf(body.limit, 'limit') ?? 0;
  const batchSize = countOf(body.batchSize, 'batchSize');
  const found = findIn(context, nameOf(body.find), filter, sort, limit === 0 ? 0 : skip + limit);
  const page = found.slice(skip, limit === 0 ? undefined : skip + limit).map(show);
  return context.cursors.open(namespaceOf(body, 'find', context), page, batchSize, body.singleBatch === true);
}

/** A collection that is not there has no documents; what cannot be understood is refused all the same. */
function findIn(
  { databases, database }: CommandContext,
  name: string,
  filter: Doc,
  sort: Doc = {},
  limit = 0,
): readonly Doc[] {
  const collection = databases.find(database, name);
  if (collection) return collection.find(filter, sort, limit);
  checkFilter(filter);
  compareBy(sort);
  return [];
}

function createIndexes(body: Doc, { databases, database }: CommandContext): Doc {
  const specs = listOf(body.indexes, 'indexes').map(parseIndexSpec);
  if (specs.length === 0) throw new CommandError(2, 'Must specify at least one index to create');
  const { collection, created } = databases.open(database, nameOf(body.createIndexes));
  const numIndexesBefore = collection.indexes.length;
  for (const spec of specs) collection.createIndex(spec);
  const numIndexesAfter = collection.indexes.length;
  const note = numIndexesAfter === numIndexesBefore ? { note: 'all indexes already exist' } : {};
  return { numIndexesBefore, numIndexesAfter, createdCollectionAutomatically: created, ...note };
}

function listIndexes(body: Doc, context: CommandContext): Doc {
  const collection = context.databases.find(context.database, nameOf(body.listIndexes));
  const namespace = namespaceOf(body, 'listIndexes', context);
  if (!collection) throw new CommandError(26, `ns does not exist: ${namespace}`);
  return context.cursors.open(
    namespace,
    collection.indexes.map((spec) => ({ v: 2, ...spec })),
  );
}

function dropIndexes(body: Doc, { databases, database }: CommandContext): Doc {
  const collection = databases.find(database, nameOf(body.dropIndexes));
  if (!collection) throw new CommandError(26, 'ns not found');
  const nIndexesWas = collection.indexes.length;
  const { index } = body;
  const named =
    index === '*'
      ? collection.indexes.slice(1)
      : collection.indexes.filter(({ name, key }) => name === index || equal(key, index));
  if (named.length === 0 && index !== '*')
    throw new CommandError(27, `index not found with name [${String(index)}]`);
  for (const { name } of named) collection.dropIndex(name);
  return { nIndexesWas };
}

function create(body: Doc, { databases, database }: CommandContext): Doc {
  if (databases.find(database, nameOf(body.create)))
    throw new CommandError(48, `Collection ${database}.${nameOf(body.create)} already exists.`);
  databases.open(database, nameOf(body.create));
  return {};
}

function distinct(body: Doc, context: CommandContext): Doc {
  const { key } = body;
  if (typeof key !== 'string') throw new CommandError(14, "'key' is the wrong type, expected string");
  const docs = findIn(context, nameOf(body.distinct), docOf(body.query, 'query'));
  const values: unknown[] = [];
  for (const leaf of docs.flatMap((doc) => [...leaves(doc, key.split('.'))])) {
    if (typeof leaf === 'symbol') continue;
    for (const value of Array.isArray(leaf) ? leaf : [leaf]) {
      if (!values.some((known) => equal(known, value))) values.push(value);
    }
  }
  return { values };
}

const ok: Command = () => ({});

const commands: Record<string, Command> = {
  hello,
  ismaster: hello,
  isMaster: hello,
  ping: ok,
  endSessions: ok,
  buildInfo,
  buildinfo: buildInfo,
  serverStatus,
  connectionStatus: () => ({ authInfo: { authenticatedUsers: [], authenticatedUserRoles: [] } }),
  insert: insertMany,
  update: updateMany,
  delete: deleteMany,
  findAndModify,
  find,
  explain,
  getMore: (body, context) =>
    context.cursors.more(
      cursorId(body.getMore),
      namespaceOf(body, 'collection', context),
      countOf(body.batchSize, 'batchSize'),
    ),
  killCursors: (body, { cursors }) => {
    if (!Array.isArray(body.cursors))
      throw new CommandError(14, "'cursors' is the wrong type, expected array");
    return cursors.kill(body.cursors.map(cursorId));
  },
  count: (body, context) => ({
    n: findIn(context, nameOf(body.count), docOf(body.query, 'query')).length,
  }),
  distinct,
  aggregate: (body, context) => {
    const run = pipelineOf(listOf(body.pipeline, 'pipeline'));
    const name = nameOf(body.aggregate);
    if (body.cursor === undefined) throw new CommandError(9, "The 'cursor' option is required");
    const batchSize = countOf(docOf(body.cursor, 'cursor').batchSize, 'cursor.batchSize');
    return context.cursors.open(`${context.database}.${name}`, run(findIn(context, name, {})), batchSize);
  },
  create,
  createIndexes,
  listIndexes,
  dropIndexes,
  drop: (body, { databases, database }) => {
    const dropped = databases.drop(database, nameOf(body.drop));
    if (!dropped) throw new CommandError(26, 'ns not found');
    return { nIndexesWas: dropped.indexes.length, ns: dropped.namespace };
  },
  dropDatabase: (_body, { databases, database }) => {
    databases.dropDatabase(database);
    return { dropped: database };
  },
  listCollections: (body, context) => {
    const filter = docOf(body.filter, 'filter');
    checkFilter(filter);
    const all = context.databases.collections(context.database).map(([name]) => ({
      name,
      type: 'collection',
      options: {},
      info: { readOnly: false },
      idIndex: { v: 2, key: { _id: 1 }, name: '_id_' },
    }));
    const docs = all.filter((doc) => matches(doc, filter));
    return context.cursors.open(`${context.database}.$cmd.listCollections`, docs);
  },
  listDatabases: (body, { databases }) => {
    const filter = docOf(body.filter, 'filter');
    checkFilter(filter);
    const all = databases.names().map((name) => ({ name, sizeOnDisk: 0, empty: false }));
    return { databases: all.filter((doc) => matches(doc, filter)), totalSize: 0 };
  },
};

/** Runs one command to its end, without giving way. Errors become replies; only a bug of ours leaves another way. */
export function runCommand(body: Doc, state: Omit<CommandContext, 'database'>): Doc {
  const name = Object.keys(body)[0] ?? '';
  try {
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    // First of all: a transaction is refused as such, whatever command it stands in.
    checkOptions(name, body);
    if (!command) throw new CommandError(59, `no such command: '${name}'`);
    return {
      ...command(body, { ...state, database: typeof body.$db === 'string' ? body.$db : 'admin' }),
      ok: 1,
    };
  } catch (error) {
    if (error instanceof CommandError) return error.reply;
    throw error;
  }
}
