/**
 * A process that calls `ensure` many times at once on one conversation, for the race of several processes. Takes its
 * addresses as JSON, waits for a line on stdin so that all start together, and answers one line of JSON.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Model } from 'mongoose';
import { noopTracer } from '../../src/instrumentation/tracer.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { turnModels } from '../../src/mongodb/models.ts';
import { MongoSessionStore } from '../../src/mongodb/session-store.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { ConversationLock } from '../../src/redis/lock.ts';
import { Session } from '../../src/session/session.ts';
import { upstreamOver } from './upstream.ts';

interface Task {
  readonly redis: string;
  readonly mongo: string;
  readonly opencode: { readonly url: string; readonly password?: string };
  readonly prefix: string;
  readonly conversationId: string;
  readonly directory: string;
  readonly calls: number;
}

const task = JSON.parse(process.argv[2] ?? '{}') as Task;
const reporter = { report: () => undefined };
const mongo = await connectMongo(task.mongo);
const redis = await openRedis(task.redis, 'commands', reporter);
const client = openCodeClient({
  address: serverAddress(task.opencode.url, undefined, task.opencode.password),
});
const upstream = upstreamOver(client);
const store = new MongoSessionStore(turnModels(mongo).Conversation as unknown as Model<never>);
const lock = new ConversationLock({ redis, prefix: task.prefix, reporter });

const session = () =>
  new Session({
    conversationId: task.conversationId,
    prefix: task.prefix,
    store,
    lock,
    upstream: () => upstream,
    directory: task.directory,
    tracer: noopTracer,
    reporter,
  });

console.log('ready');
await once(createInterface({ input: process.stdin }), 'line');
const answers = await Promise.all(
  Array.from({ length: task.calls }, async () => {
    const one = session();
    return { ...(await one.ensure()), justCreated: one.justCreated };
  }),
);
console.log(JSON.stringify(answers));
await Promise.all([mongo.close(), redis.quit()]);
process.exit(0);
