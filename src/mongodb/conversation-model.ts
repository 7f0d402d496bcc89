import { once } from 'node:events';
import type { Model } from 'mongoose';
import { InvalidConfigError, ServiceUnavailableError } from '../errors.ts';
import { within } from '../timing/time-limit.ts';
import { type ConversationIdType, conversationIdTypes } from '../turn/conversation-id.ts';
import { idTypeNamed, pathType } from './conversation-ids.ts';

const connected = 1;

interface SomeModel {
  readonly modelName?: unknown;
  readonly schema?: unknown;
  readonly collection?: { readonly collectionName?: unknown };
  readonly swapOpencodeSession?: unknown;
}

/**
 * The type of its documents' ids. Throws InvalidConfigError for what is no Mongoose model, or one whose documents cannot own a
 * session or have ids that no conversation can have.
 */
export function checkConversationModel(model: unknown): ConversationIdType {
  const { modelName, schema, collection, swapOpencodeSession } = (model ?? {}) as SomeModel;
  const isModel = typeof model === 'function' && typeof modelName === 'string' && schema !== undefined;
  if (!isModel || typeof collection?.collectionName !== 'string')
    throw new InvalidConfigError('conversations', 'must be a Mongoose model');
  if (typeof swapOpencodeSession !== 'function') {
    const problem = `model "${modelName}" cannot own a session; add schema.plugin(opencodeSession) before the model is made`;
    throw new InvalidConfigError('conversations', problem);
  }
  const name = pathType(model as unknown as Model<never>);
  const type = idTypeNamed(name);
  if (type) return type;
  const problem = `model "${modelName}" has ids of the type ${name || 'none'}; may be: ${conversationIdTypes}`;
  throw new InvalidConfigError('conversations', problem);
}

/**
 * Waits for the model's own connection, which is the host's to open: Mongoose would wait without a word, for some of its
 * calls without an end. Throws ServiceUnavailableError that names it after `timeoutMs`.
 */
export async function conversationsOpen({ db, modelName }: Model<never>, timeoutMs: number): Promise<void> {
  try {
    await within(timeoutMs, async (signal) => {
      while (db.readyState !== connected) await once(db, 'connected', { signal });
    });
  } catch {
    const problem = `the connection of the model "${modelName}" (option "conversations") is not open; open it before (mongoose.connect, or createConnection(…).asPromise())`;
    throw new ServiceUnavailableError('mongodb', problem, { effect: 'none' });
  }
}
