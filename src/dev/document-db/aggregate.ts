/** The few pipeline stages that are needed here: what Mongoose's countDocuments sends, and plain reading. */
import { CommandError } from './errors.ts';
import { leaves, matches } from './match.ts';
import { project } from './projection.ts';
import { compareBy } from './sort.ts';
import { type Doc, equal, isDoc, numberOf } from './values.ts';

type Stage = (docs: readonly Doc[], spec: unknown) => readonly Doc[];

const docSpec = (stage: string, spec: unknown): Doc => {
  if (isDoc(spec)) return spec;
  throw new CommandError(2, `the ${stage} specification must be an object`);
};

const stages: Record<string, Stage> = {
  $match: (docs, spec) => docs.filter((doc) => matches(doc, docSpec('$match', spec))),
  $sort: (docs, spec) => [...docs].sort(compareBy(docSpec('$sort', spec))),
  $skip: (docs, spec) => docs.slice(Number(numberOf(spec))),
  $limit: (docs, spec) => docs.slice(0, Number(numberOf(spec))),
  $project: (docs, spec) => docs.map((doc) => project(doc, docSpec('$project', spec))),
  $count: (docs, spec) => (docs.length === 0 ? [] : [{ [String(spec)]: docs.length }]),
  $group: (docs, spec) => group(docs, docSpec('$group', spec)),
};

export function aggregate(docs: readonly Doc[], pipeline: readonly Doc[]): readonly Doc[] {
  return pipeline.reduce((current, stage) => {
    const [name = '', spec] = Object.entries(stage)[0] ?? [];
    const run = Object.hasOwn(stages, name) ? stages[name] : undefined;
    if (name === '$changeStream')
      throw new CommandError(40573, 'The $changeStream stage is only supported on replica sets');
    if (!run) throw new CommandError(40324, `Unrecognized pipeline stage name: '${name}'`);
    return run(current, spec);
  }, docs);
}

/** Groups by a constant or by one field, with `$sum` of a number or of a field. */
function group(docs: readonly Doc[], { _id, ...fields }: Doc): Doc[] {
  const groups: { _id: unknown; docs: Doc[] }[] = [];
  for (const doc of docs) {
    const id = evaluate(doc, _id);
    const known = groups.find((one) => equal(one._id, id));
    if (known) known.docs.push(doc);
    else groups.push({ _id: id, docs: [doc] });
  }
  return groups.map((one) => {
    const sums = Object.entries(fields).map(([name, accumulator]) => [name, sum(one.docs, accumulator)]);
    return { _id: one._id, ...Object.fromEntries(sums) };
  });
}

function sum(docs: readonly Doc[], accumulator: unknown): number {
  if (!isDoc(accumulator) || !('$sum' in accumulator))
    throw new CommandError(40324, 'this server groups with $sum only');
  return docs.reduce((total, doc) => {
    const value = evaluate(doc, accumulator.$sum);
    return typeof value === 'number' ? total + value : total;
  }, 0);
}

function evaluate(doc: Doc, expression: unknown): unknown {
  if (typeof expression === 'string' && expression.startsWith('$')) {
    const [leaf] = leaves(doc, expression.slice(1).split('.'));
    return typeof leaf === 'symbol' ? null : leaf;
  }
  if (isDoc(expression) && Object.keys(expression).length > 0)
    throw new CommandError(40324, 'this server has no aggregation expressions');
  return expression;
}
