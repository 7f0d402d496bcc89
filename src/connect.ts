import type { TurnsOptions } from './config/options.ts';
import type { ReadyConversation } from './turn/conversation.ts';
import type { Turns } from './turns.ts';

/**
 * Opens Redis and MongoDB, and returns the one object that web apps and workers use. Throws InvalidConfigError and
 * ServiceUnavailableError within `connectTimeoutMs` per service; what was opened until then is closed. OpenCode is not
 * asked: web apps need not reach it. `R`, the type of the conversations' documents, is that of `conversations`. Vendors are loaded here and not with the package, `work` loads the rest.
 */
export async function connect<R = ReadyConversation>(options: TurnsOptions<R>): Promise<Turns<R>> {
  const { compose } = await import('./compose.ts');
  return compose(options);
}
