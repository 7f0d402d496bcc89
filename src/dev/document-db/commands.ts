/** The table of commands. A command that is not here is refused with code 59. */
import { aggregate } from './aggregate.ts';
import { parseIndexSpec } from './collection-index.ts';
import { type CommandContext, docOf, nameOf } from './context.ts';
import { CommandError } from './errors.ts';
import { buildInfo, hello, serverStatus } from './identity.ts';
import { checkFilter, leaves } from './match.ts';
import { project } from './projection.ts';
import { type Doc, equal, numberOf } from './values.ts';
import { deleteMany, findAndModify, insertMany, updateMany } from './write-commands.ts';

type Command = (body: Doc, context: CommandContext) => Doc;

const countOf = (value: unknown): number | undefined =>
  value === undefined || value === null ? undefined : Number(numberOf(value));
const bigintOf = (value: unknown): bigint => BigInt(String(value));
const namespaceOf = (body: Doc, field: string, { database }: CommandContext) =>
  `${database}.${nameOf(body[field])}`;

function find(body: Doc, context: CommandContext): Doc {
  if (body.collation !== undefined) throw new CommandError(2, 'this server has no collations');
  const filter = docOf(body.filter);
  checkFilter(filter);
  const collection = context.databases.find(context.database, nameOf(body.find));
  const skip = countOf(body.skip) ?? 0;
  const limit = Math.abs(countOf(body.limit) ?? 0);
  const found = collection?.find(filter, docOf(body.sort)) ?? [];
  const page = found
    .slice(skip, limit === 0 ? undefined : skip + limit)
    .map((doc) => project(doc, docOf(body.projection)));
  return context.cursors.open(
    namespaceOf(body, 'find', context),
    page,
    countOf(body.batchSize),
    body.singleBatch === true,
  );
}

function createIndexes(body: Doc, { databases, database }: CommandContext): Doc {
  const { collection, created } = databases.open(database, nameOf(body.createIndexes));
  const numIndexesBefore = collection.indexes.length;
  const specs = (body.indexes as Doc[]).map(parseIndexSpec);
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
  const plain = new Set([
    'create',
    'autoIndexId',
    'lsid',
    '$db',
    'writeConcern',
    'comment',
    '$readPreference',
    'maxTimeMS',
  ]);
  const special = Object.keys(body).find((option) => !plain.has(option));
  if (special) throw new CommandError(72, `this server does not know the collection option '${special}'`);
  if (databases.find(database, nameOf(body.create)))
    throw new CommandError(48, `Collection ${database}.${nameOf(body.create)} already exists.`);
  databases.open(database, nameOf(body.create));
  return {};
}

function distinct(body: Doc, { databases, database }: CommandContext): Doc {
  const key = String(body.key);
  const docs = databases.find(database, nameOf(body.distinct))?.find(docOf(body.query)) ?? [];
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
  findandmodify: findAndModify,
  find,
  getMore: (body, { cursors }) => cursors.more(bigintOf(body.getMore), countOf(body.batchSize)),
  killCursors: (body, { cursors }) => cursors.kill((body.cursors as unknown[]).map(bigintOf)),
  count: (body, { databases, database }) => ({
    n: databases.find(database, nameOf(body.count))?.find(docOf(body.query)).length ?? 0,
  }),
  distinct,
  aggregate: (body, context) => {
    const name = body.aggregate === 1 ? '' : nameOf(body.aggregate);
    const docs = context.databases.find(context.database, name)?.find({}) ?? [];
    const results = [...aggregate(docs, body.pipeline as Doc[])];
    return context.cursors.open(
      `${context.database}.${name}`,
      results,
      countOf(docOf(body.cursor).batchSize),
    );
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
    const filter = docOf(body.filter);
    const names = context.databases.collections(context.database).map(([name]) => name);
    const shown = names.filter((name) => filter.name === undefined || filter.name === name);
    const docs = shown.map((name) => ({
      name,
      type: 'collection',
      options: {},
      info: { readOnly: false },
      idIndex: { v: 2, key: { _id: 1 }, name: '_id_' },
    }));
    return context.cursors.open(`${context.database}.$cmd.listCollections`, docs);
  },
  listDatabases: (_body, { databases }) => ({
    databases: databases.names().map((name) => ({ name, sizeOnDisk: 0, empty: false })),
    totalSize: 0,
  }),
};

/** Runs one command to its end, without giving way. Errors become replies; only a bug of ours leaves another way. */
export function runCommand(body: Doc, state: Omit<CommandContext, 'database'>): Doc {
  const name = Object.keys(body)[0] ?? '';
  try {
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (!command) throw new CommandError(59, `no such command: '${name}'`);
    if (body.startTransaction === true || body.autocommit === false) {
      throw new CommandError(20, 'Transaction numbers are only allowed on a replica set member or mongos');
    }
    return {
      ...command(body, { ...state, database: typeof body.$db === 'string' ? body.$db : 'admin' }),
      ok: 1,
    };
  } catch (error) {
    if (error instanceof CommandError) return error.reply;
    throw error;
  }
}
