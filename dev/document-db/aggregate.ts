/** The few pipeline stages that are needed here: what Mongoose's countDocuments sends, and plain reading. */
import { checkFilter } from './check-filter.ts';
import { countOf, docOf } from './context.ts';
import { CommandError } from './errors.ts';
import { leaves, matches } from './match.ts';
import { projection } from './projection.ts';
import { compareBy } from './sort.ts';
import { type Doc, equal, isDoc } from './values.ts';

type Stage = (docs: readonly Doc[]) => readonly Doc[];

const stages: Readonly<Record<string, (spec: unknown) => Stage>> = {
  $match: (spec) => {
    const filter = docOf(spec ?? null, '$match');
    checkFilter(filter);
    return (docs) => docs.filter((doc) => matches(doc, filter));
  },
  $sort: (spec) => {
    const compare = compareBy(nonempty('$sort', spec));
    return (docs) => [...docs].sort(compare);
  },
  $skip: (spec) => {
    const count = countOf(spec, '$skip') ?? 0;
    return (docs) => docs.slice(count);
  },
  $limit: (spec) => {
    const count = countOf(spec, '$limit') ?? 0;
    if (count === 0) throw new CommandError(15958, 'the limit must be positive');
    return (docs) => docs.slice(0, count);
  },
  $project: (spec) => {
    const show = projection(nonempty('$project', spec));
    return (docs) => docs.map(show);
  },
  $count: (spec) => {
    if (typeof spec !== 'string' || spec === '' || /^\$|\./.test(spec))
      throw new CommandError(40156, 'the count field must be a non-empty string without $ and .');
    return (docs) => (docs.length === 0 ? [] : [{ [spec]: docs.length }]);
  },
  $group: (spec) => grouping(docOf(spec ?? null, '$group')),
};

/** Throws for a stage that is unknown, or wrong, whatever there is to aggregate. */
export function pipelineOf(stageDocs: readonly Doc[]): Stage {
  const steps = stageDocs.map((stage) => {
    const [[name, spec] = ['', undefined], ...others] = Object.entries(stage);
    if (others.length > 0)
      throw new CommandError(40323, 'A pipeline stage specification object must contain exactly one field.');
    if (name === '$changeStream')
      throw new CommandError(40573, 'The $changeStream stage is only supported on replica sets');
    const make = Object.hasOwn(stages, name) ? stages[name] : undefined;
    if (!make) throw new CommandError(40324, `Unrecognized pipeline stage name: '${name}'`);
    return make(spec);
  });
  return (docs) => steps.reduce((current, step) => step(current), docs);
}

function nonempty(stage: string, spec: unknown): Doc {
  const doc = docOf(spec ?? null, stage);
  if (Object.keys(doc).length > 0) return doc;
  throw new CommandError(51272, `the ${stage} specification must have at least one field`);
}

/** Groups by a constant or by one field, with `$sum` of a number or of a field. */
function grouping({ _id, ...fields }: Doc): Stage {
  if (_id === undefined) throw new CommandError(15955, 'a group specification must include an _id');
  checkExpression(_id);
  for (const accumulator of Object.values(fields)) {
    if (!isDoc(accumulator) || Object.keys(accumulator).join() !== '$sum')
      throw new CommandError(40324, 'this server groups with $sum only');
    checkExpression(accumulator.$sum);
  }
  return (docs) => {
    const groups: { _id: unknown; docs: Doc[] }[] = [];
    for (const doc of docs) {
      const id = evaluate(doc, _id);
      const known = groups.find((one) => equal(one._id, id));
      if (known) known.docs.push(doc);
      else groups.push({ _id: id, docs: [doc] });
    }
    return groups.map((one) => {
      const sums = Object.entries(fields).map(([name, accumulator]) => [
        name,
        sum(one.docs, accumulator as Doc),
      ]);
      return { _id: one._id, ...Object.fromEntries(sums) };
    });
  };
}

/** What is no number counts as nothing, as it does in MongoDB; what a double cannot hold is refused. */
function sum(docs: readonly Doc[], { $sum }: Doc): number {
  let total = 0;
  for (const doc of docs) {
    const value = evaluate(doc, $sum);
    if (typeof value === 'object' && value !== null && '_bsontype' in value)
      throw new CommandError(2, 'this server sums int and double only');
    if (typeof value === 'number') total += value;
  }
  return total;
}

function checkExpression(expression: unknown): void {
  const isPath = typeof expression === 'string' && /^\$[^$]/.test(expression);
  const isConstant = !isPath && !isDoc(expression) && !String(expression).startsWith('$');
  if (!isPath && !isConstant)
    throw new CommandError(40324, 'this server has no aggregation expressions but paths of fields');
}

function evaluate(doc: Doc, expression: unknown): unknown {
  if (typeof expression !== 'string' || !expression.startsWith('$')) return expression;
  const found = [...leaves(doc, expression.slice(1).split('.'))];
  if (found.length > 1 || found.some(Array.isArray))
    throw new CommandError(2, `this server does not group over arrays, as at ${expression}`);
  return typeof found[0] === 'symbol' ? null : (found[0] ?? null);
}
