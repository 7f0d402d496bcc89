import type { mongo } from 'mongoose';
import { InvalidConfigError } from '../errors.ts';
import type { CollectionNames } from './collection-names.ts';
import { mongoCall } from './errors.ts';

/** Up to 0.1.0 the names of the collections had no prefix. */
const former = 'messages';

/**
 * Refuses to begin anew beside turns that an earlier version has stored under names without a prefix: they would
 * seem lost. Throws InvalidConfigError that says how to go on with them.
 */
export async function refuseFormerNames(
  db: mongo.Db | undefined,
  { messages }: CollectionNames,
): Promise<void> {
  if (!db || messages === former) return;
  await mongoCall(async () => {
    const names = (await db.listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name);
    if (!names.includes(former) || names.includes(messages)) return;
    const indexes = await db.collection(former).indexes();
    if (!indexes.some(({ name }) => name === 'conversation_one_active')) return;
    const problem = `this database has turns of an earlier version in "${former}"; set it to "" to go on with them, or rename their collections`;
    throw new InvalidConfigError('collectionPrefix', problem);
  });
}
