import { type CommandContext, countOf, docOf, nameOf } from './context.ts';
import { CommandError } from './errors.ts';
import { checkOptions } from './options.ts';
import type { Doc } from './values.ts';

/** How a `find` is carried out, which it is: by which index, and how many documents are read for it. */
export function explain(body: Doc, { databases, database }: CommandContext): Doc {
  const asked = docOf(body.explain, 'explain');
  const [command] = Object.keys(asked);
  if (command !== 'find') throw new CommandError(2, `this server explains find only, not '${command}'`);
  checkOptions(command, asked);
  const limit = countOf(asked.limit, 'limit') ?? 0;
  const most = limit === 0 ? 0 : limit + (countOf(asked.skip, 'skip') ?? 0);
  const name = nameOf(asked.find);
  const { docs, examined, index } = databases
    .open(database, name)
    .collection.search(docOf(asked.filter, 'filter'), docOf(asked.sort, 'sort'), most);
  const scan =
    index === undefined
      ? { stage: 'COLLSCAN' }
      : { stage: 'FETCH', inputStage: { stage: 'IXSCAN', indexName: index } };
  return {
    queryPlanner: { namespace: `${database}.${name}`, winningPlan: scan },
    executionStats: {
      executionSuccess: true,
      nReturned: docs.length,
      totalKeysExamined: index === undefined ? 0 : examined,
      totalDocsExamined: examined,
    },
  };
}
