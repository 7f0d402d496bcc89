/**
 * One process of one version of the library: `node side-process.mjs ENTRY`. Commands come as lines of JSON, `{ seq, call,
 * args }`; what they yield and return goes out the same way. Uses only what every version has had.
 */
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import mongoose from 'mongoose';

const { connect, opencodeSession } = await import(pathToFileURL(process.argv[2]).href);
const { directory, ownIds, ...options } = JSON.parse(process.env.SIDE_OPTIONS);
const say = (line) => void process.stdout.write(`${JSON.stringify(line)}\n`);
const reporter = { report: (error, { action }) => say({ report: `${action}: ${error?.message}` }) };
if (ownIds) {
  const host = await mongoose.createConnection(options.mongo).asPromise();
  const schema = new mongoose.Schema({ _id: String, title: String }).plugin(opencodeSession);
  options.conversations = host.model('Trip', schema);
}
const turns = await connect({ ...options, reporter });
await turns.createIndexes();
const leaving = new Map();
let worker;

const calls = {
  own: async ([_id]) => (await options.conversations.create({ _id }))._id,
  conversation: async () => String((await turns.models.Conversation.create({ title: 'Side by side' }))._id),
  enqueue: async ([input]) => (await turns.enqueue(input)).id,
  get: ([turnId]) => turns.get(turnId),
  follow: async ([turnId, after], seq) => {
    const leave = new AbortController();
    leaving.set(seq, leave);
    for await (const entry of turns.follow(turnId, { signal: leave.signal, ...(after ? { after } : {}) }))
      say({ seq, entry });
  },
  leave: async ([seq]) => leaving.get(seq)?.abort(),
  work: async () => {
    const policies = { default: { model: 'scripted/scripted', directory: () => directory } };
    worker = await turns.work({ policies, lockMs: 2_000, stalledCheckMs: 1_000 });
  },
  close: async () => {
    await worker?.stop(0);
    await turns.close();
    process.stdin.destroy();
  },
};

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { seq, call, args } = JSON.parse(line);
  try {
    say({ seq, done: (await calls[call](args, seq)) ?? null });
  } catch (error) {
    say({ seq, failed: String(error?.stack) });
  }
});
say({ ready: true });
