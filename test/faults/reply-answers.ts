import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import type { HttpCommand, HttpReplyProxy } from '../support/http-reply-proxy.ts';
import type { MongoCommand, MongoReplyProxy } from '../support/mongo-reply-proxy.ts';
import type { RedisCommand, RedisReplyProxy } from '../support/redis-reply-proxy.ts';
import { httpReplies, mongoReplies, redisReplies } from './reply-table.ts';

/** Which answer, by what its command is called and how many of that name came before, and what stands in its place. */
export interface Replacement {
  readonly label: string;
  /** From 1. */
  readonly nth: number;
  readonly reply: string;
  readonly executed: boolean;
}

/** What the sweeper asks, and a worker without jobs: now and then, and of no turn in particular. */
const ofSweeps =
  / sweeper$|^exists turns:|^scan|^hexists|^pttl|by role status createdAt|by opencodeSessionId|experimental/;

/** The answers of one service to one client. */
export interface Answers {
  /** The labels of the commands since the last `forget`, but for those of sweeps. */
  readonly labels: readonly string[];
  /** The replies that can stand in for any answer of the service. */
  readonly replies: readonly string[];
  /** Whether it changes nothing, so that it is the same whether it was executed. */
  reads(label: string): boolean;
  /** Answers whether it has been done. */
  replace(replacement: Replacement): () => boolean;
  /** Everything is answered so, and nothing executed, until `forget`. */
  replaceAll(reply: string): void;
  /** Neither rule nor label is left. */
  forget(): void;
}

/** True of the n-th command of that label. */
function nthOf<Command>(labelOf: (command: Command) => string, { label, nth }: Replacement) {
  let seen = 0;
  return (command: Command): boolean => {
    if (labelOf(command) !== label) return false;
    seen += 1;
    return seen === nth;
  };
}

const always = { at: () => true, executed: false, times: Number.POSITIVE_INFINITY };

export function mongoAnswers(proxy: MongoReplyProxy): Answers {
  const labelOf = ({ name, body }: MongoCommand) => {
    const fields = Object.keys((body.filter ?? body.query ?? {}) as object).join(' ');
    return `${name} ${name === 'getMore' ? body.collection : body[name]}${fields && ` by ${fields}`}`;
  };
  return {
    get labels() {
      return proxy.commands.map(labelOf).filter((label) => !ofSweeps.test(label));
    },
    replies: Object.keys(mongoReplies),
    reads: (label) => /^(find|aggregate|count|getMore|distinct) /.test(label),
    replace: (replacement) => {
      const { reply, executed } = replacement;
      const at = nthOf(labelOf, replacement);
      const { hits } = proxy.replace({ at, executed, reply: mongoReplies[reply] ?? 'cut' });
      return () => hits.length > 0;
    },
    replaceAll: (reply) => void proxy.replace({ ...always, reply: mongoReplies[reply] ?? 'cut' }),
    forget: () => {
      proxy.clear();
      proxy.commands.length = 0;
    },
  };
}

interface Script {
  readonly name: string;
  readonly content: string;
}
/** BullMQ's scripts by the hash that it calls them by. */
const scripts = new Map(
  Object.values(createRequire(import.meta.url)('bullmq/dist/cjs/scripts') as Record<string, Script>).map(
    ({ name, content }) => [createHash('sha1').update(content).digest('hex'), name],
  ),
);
const redisReads = new Set([
  'get',
  'hget',
  'hgetall',
  'exists',
  'hexists',
  'pttl',
  'xrange',
  'zrange',
  'zscore',
]);

/** By the kind of the first key; a script has a name besides, as far as it is one of BullMQ's. */
export function redisLabel({ name, args }: RedisCommand): string {
  const isScript = name.startsWith('eval');
  const kind = (args[isScript ? 2 : 0] ?? '').replace(/[0-9a-f]{24}/g, 'id').replace(/^[^:]*:/, '');
  if (!isScript) return `${name} ${kind}`;
  const [text = ''] = args;
  const script = scripts.get(name === 'eval' ? createHash('sha1').update(text).digest('hex') : text) ?? '';
  return `${name} ${script} ${kind}`;
}

export function redisAnswers(proxy: RedisReplyProxy): Answers {
  return {
    get labels() {
      return proxy.commands.map(redisLabel).filter((label) => !ofSweeps.test(label));
    },
    replies: Object.keys(redisReplies),
    reads: (label) => redisReads.has(label.split(' ', 1)[0] ?? ''),
    replace: (replacement) => {
      const { reply, executed } = replacement;
      const at = nthOf(redisLabel, replacement);
      const placed = proxy.replace({ at, executed, reply: redisReplies[reply] ?? 'ERR' });
      return () => placed.hits.length > 0;
    },
    replaceAll: (reply) => void proxy.replace({ ...always, reply: redisReplies[reply] ?? 'ERR' }),
    forget: () => {
      proxy.clear();
      proxy.commands.length = 0;
    },
  };
}

export function httpAnswers(proxy: HttpReplyProxy): Answers {
  const labelOf = ({ method, path }: HttpCommand) =>
    `${method} ${path.replace(/(ses|msg|prt|per|que)_\w+/g, '$1')}`;
  return {
    get labels() {
      return proxy.commands.map(labelOf).filter((label) => !ofSweeps.test(label));
    },
    replies: Object.keys(httpReplies),
    reads: (label) => label.startsWith('GET '),
    replace: (replacement) => {
      const { reply, executed } = replacement;
      const at = nthOf(labelOf, replacement);
      const placed = proxy.replace({ at, executed, reply: httpReplies[reply] ?? { status: 500 } });
      return () => placed.hits.length > 0;
    },
    replaceAll: (reply) => void proxy.replace({ ...always, reply: httpReplies[reply] ?? { status: 500 } }),
    forget: () => {
      proxy.clear();
      proxy.commands.length = 0;
    },
  };
}
