/** Enqueue a turn, work on it in the same process, and print the answer as it grows. */
import { configFromEnv, connect } from 'opencode-turns';

const turns = await connect(configFromEnv());
await turns.createIndexes();
await turns.work({
  policies: { default: { model: process.env.OPENCODE_TURNS_MODEL ?? 'scripted/scripted' } },
});

const conversation = await turns.models.Conversation.create({ title: 'Quickstart' });
const turn = await turns.enqueue({ conversation, text: 'Say hello.', idempotencyKey: 'hello' });
for await (const entry of turns.follow(turn.id)) {
  if (entry.type === 'part' && entry.part.type === 'text') process.stdout.write(entry.part.text);
  if (entry.type === 'text') process.stdout.write(entry.delta);
}
console.log(`\n${(await turns.get(turn.id))?.status}`);
await turns.close();
