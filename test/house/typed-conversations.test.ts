/**
 * What the compiler must take and what it must refuse once a host's own model is given: `npm run check` compiles this file, and
 * fails at an `@ts-expect-error` that expects in vain. Nothing of it is called.
 */
import { expect, it } from '@jest/globals';
import mongoose from 'mongoose';
import {
  configFromEnv,
  connect,
  opencodeSession,
  type Policies,
  type TurnPolicy,
  type Turns,
} from '../../src/index.ts';

interface Trip {
  title: string;
  destination: string;
  days: number;
}

const tripSchema = new mongoose.Schema({ destination: { type: String, required: true }, days: Number });
tripSchema.plugin(opencodeSession);
const InferredTrip = mongoose.connection.model('Trip', tripSchema);
const declaredSchema = new mongoose.Schema<Trip>({ destination: String });
declaredSchema.plugin(opencodeSession);
declare const DeclaredTrip: mongoose.Model<Trip>;

async function ownModel(): Promise<void> {
  const turns = await connect({ ...configFromEnv(), conversations: DeclaredTrip });
  turns satisfies Turns<Trip>;
  // @ts-expect-error another model's
  turns satisfies Turns<{ invoice: number }>;
  await turns.work({
    policies: {
      planner: {
        system: ({ document }) =>
          `To ${document.destination.toUpperCase()}, ${document.days.toFixed()} days.`,
        directory: async ({ id, document }, signal) => `${signal.aborted}/${id}/${document.destination}`,
        permissions: ({ document: { days } }) =>
          days > 3 ? [{ permission: 'bash', pattern: '*', action: 'deny' }] : [],
      },
      // @ts-expect-error no such field
      misspelt: { system: ({ document }) => document.destinatoin },
      // @ts-expect-error a number is no text
      wrong: { system: ({ document }) => document.days },
      // @ts-expect-error a lean document is read only
      writing: { system: ({ document }) => `${document.days++}` },
    },
  });
  const trip = await DeclaredTrip.create({ title: 'Summer', destination: 'Lisbon', days: 3 });
  await turns.enqueue({ conversation: trip, text: 'Plan a day.' });
  await turns.enqueue({ conversation: trip._id, text: 'Plan a day.' });
  await turns.enqueue({ conversation: trip.id, text: 'Plan a day.' });
  await turns.enqueue({ conversation: trip.toObject(), text: 'Plan a day.' });
  const found = await DeclaredTrip.findById(trip._id);
  // @ts-expect-error it may not have been found
  await turns.enqueue({ conversation: found, text: 'Plan a day.' });
  // @ts-expect-error a document of another model
  await turns.enqueue({ conversation: { _id: trip._id, invoice: 7 }, text: 'Plan a day.' });
  // @ts-expect-error a query, not its document
  await turns.enqueue({ conversation: DeclaredTrip.findById(trip._id), text: 'Plan a day.' });
}

async function otherModels(): Promise<void> {
  const inferred = await connect({ ...configFromEnv(), conversations: InferredTrip });
  await inferred.work({ policies: { default: { system: ({ document }) => document.destination } } });
  // @ts-expect-error no such field
  await inferred.work({ policies: { default: { system: ({ document }) => document.nowhere } } });
  const named = await connect<Trip>({ ...configFromEnv(), conversations: DeclaredTrip });
  named satisfies Turns<Trip>;
  // @ts-expect-error no model
  await connect({ ...configFromEnv(), conversations: { title: 'Trip' } });
}

async function readyMade(): Promise<void> {
  const turns = await connect(configFromEnv());
  turns satisfies Turns;
  const conversation = await turns.models.Conversation.create({ title: 'Hello' });
  await turns.enqueue({ conversation, text: 'hello' });
  await turns.work({
    policies: {
      default: { system: ({ document }) => `${document.title}, ${document.createdAt.toISOString()}` },
      // @ts-expect-error no such field
      other: { system: ({ document }) => document.destination },
      anywhere,
    },
  });
}

/** Ids of a host's own. */
async function ownIds(): Promise<void> {
  const numbered = new mongoose.Schema({ _id: Number, total: Number });
  numbered.plugin(opencodeSession);
  const invoices = await connect({
    ...configFromEnv(),
    conversations: mongoose.connection.model('Invoice', numbered),
  });
  await invoices.enqueue({ conversation: 7, text: 'Explain.' });
  await invoices.enqueue({ conversation: '7', text: 'Explain.' });
  await invoices.session(7).stored();
  // @ts-expect-error no number
  await invoices.enqueue({ conversation: true, text: 'Explain.' });
  // @ts-expect-error an id of another model
  await invoices.enqueue({ conversation: new mongoose.Types.ObjectId(), text: 'Explain.' });
  const [message] = await invoices.models.Message.find({ conversation: 7 });
  message?.conversation.toFixed();
  const big = await connect({ ...configFromEnv(), conversations: BigTrip });
  await big.enqueue({ conversation: 7n, text: 'Explain.' });
  const named = await connect({ ...configFromEnv(), conversations: NamedTrip });
  await named.enqueue({ conversation: 'lisbon', text: 'Explain.' });
  // @ts-expect-error another type of id
  await named.enqueue({ conversation: 7, text: 'Explain.' });
  const unique = await connect({ ...configFromEnv(), conversations: UniqueTrip });
  await unique.enqueue({ conversation: new mongoose.Types.UUID(), text: 'Explain.' });
  const ready = await connect(configFromEnv());
  // @ts-expect-error the ready-made model has ObjectIds
  await ready.enqueue({ conversation: 7, text: 'Explain.' });
  (await ready.models.Message.findOne())?.conversation.toHexString();
}
declare const BigTrip: mongoose.Model<{ _id: bigint; title: string }>;
declare const NamedTrip: mongoose.Model<{ _id: string; title: string }>;
declare const UniqueTrip: mongoose.Model<{ _id: mongoose.Types.UUID; title: string }>;

/** A policy for any model: it takes the fields for what they may be. */
const anywhere: TurnPolicy = { system: ({ document }) => String(document.destination) };
/** And tables in modules of their own. */
const table = { planner: { system: ({ document }) => document.destination } } satisfies Policies<Trip>;
// @ts-expect-error of another model
const other: Policies<{ invoice: number }> = table;

it('the types of a host reach hooks and enqueue, and mistakes do not compile', () => {
  for (const compiled of [ownModel, ownIds, otherModels, readyMade, table, other])
    expect(compiled).toBeDefined();
});
