/** Conversations of your own: any Mongoose model that has the plugin. */
import mongoose from 'mongoose';
import { configFromEnv, connect, opencodeSession } from 'opencode-turns';

const tripSchema = new mongoose.Schema({ title: String, destination: String });
tripSchema.plugin(opencodeSession);
const connection = await mongoose.createConnection(process.env.MONGODB_URL ?? '').asPromise();
const Trip = connection.model('Trip', tripSchema);

const turns = await connect({ ...configFromEnv(), conversations: Trip });
await turns.createIndexes();
await turns.work({
  policies: {
    planner: {
      model: process.env.OPENCODE_TURNS_MODEL ?? 'scripted/scripted',
      system: ({ document }) => `The trip goes to ${document.destination}.`,
    },
  },
});

const trip = await Trip.create({ title: 'Summer', destination: 'Lisbon' });
const turn = await turns.enqueue({ conversation: trip, text: 'Plan a day.', policy: 'planner' });
for await (const entry of turns.follow(turn.id)) if (entry.type === 'finished') console.log(entry.text);
const stored = await Trip.findById(trip._id);
console.log(`session stored on the trip: ${typeof stored?.get('opencodeSessionId') === 'string'}`);
await turns.close();
await connection.close();
