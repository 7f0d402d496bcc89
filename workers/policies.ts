/** What a worker gets from its host's module. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { messageOf } from '../src/errors.ts';
import { InvalidConfigError, type TurnPolicy, type TurnsOptions } from '../src/index.ts';

/** What a host gives the shipped worker. */
export interface Given {
  readonly policies: Record<string, TurnPolicy>;
  /** The host's own model, on a connection that the module opens and that is the worker's to close. */
  readonly conversations?: Conversations;
}

type Conversations = NonNullable<TurnsOptions['conversations']>;

/**
 * The table of policies that a module exports by default, and the model that it exports as `conversations`. Throws
 * InvalidConfigError for a module that cannot be loaded, or that has no such table.
 */
export async function givenIn(module: string): Promise<Given> {
  const file = path.resolve(module);
  const loaded = await import(pathToFileURL(file).href).catch((cause: unknown) => {
    throw new InvalidConfigError('OPENCODE_TURNS_POLICIES', `${file} cannot be loaded: ${messageOf(cause)}`, {
      cause,
    });
  });
  const policies: unknown = await loaded.default;
  const conversations: Conversations | undefined = await loaded.conversations;
  if (typeof policies === 'object' && policies !== null)
    return { policies: policies as Given['policies'], ...(conversations ? { conversations } : {}) };
  throw new InvalidConfigError(
    'OPENCODE_TURNS_POLICIES',
    `${file} has no table of policies as its default export; write: export default { default: { model: 'provider/model' } }`,
  );
}
