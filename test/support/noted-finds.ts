import type { Model, Query } from 'mongoose';

type Find = Query<unknown, unknown>;

export interface Explained {
  readonly plan: string;
  readonly nReturned: number;
  readonly totalDocsExamined: number;
  readonly totalKeysExamined: number;
}

/** The same model; each of its `find`s is noted as it is sent, to be explained afterwards. */
export function notedFinds<T>(model: Model<T>): { model: Model<T>; finds: Find[] } {
  const finds: Find[] = [];
  const find = (...args: unknown[]) => {
    const query = (model.find as unknown as (...all: unknown[]) => Find).apply(model, args);
    finds.push(query);
    return query;
  };
  return { model: Object.create(model, { find: { value: find } }), finds };
}

/** How the database carries one out: by which plan, and how much it reads for it. */
export async function explained(find: Find | undefined): Promise<Explained> {
  if (!find) throw new Error('nothing was asked');
  const { queryPlanner, executionStats } = (await find.clone().explain('executionStats')) as unknown as {
    queryPlanner: { winningPlan: unknown };
    executionStats: Explained;
  };
  const { nReturned, totalDocsExamined, totalKeysExamined } = executionStats;
  const plan = JSON.stringify(queryPlanner.winningPlan);
  return { plan, nReturned, totalDocsExamined, totalKeysExamined };
}
