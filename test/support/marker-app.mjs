/**
 * A web app in a process of its own, instrumented as the Procfile does it: three turns of one conversation, of which the last
 * is cancelled as soon as it speaks. Its own baggage is full of what must stay.
 */
import { context, propagation, trace } from '@opentelemetry/api';
import { configFromEnv, connect } from '../../dist/src/index.js';

const { MARKERS = '{}' } = process.env;
const marks = JSON.parse(MARKERS);
const turns = await connect(configFromEnv());
const conversation = await turns.models.Conversation.create({ title: marks.title });

async function oneTurn(text, onEntry = () => undefined) {
  const idempotencyKey = `${marks.key}-${text}`;
  const { id } = await turns.enqueue({ conversation, text: `${text} ${marks.text}`, idempotencyKey });
  for await (const entry of turns.follow(id)) await onEntry(entry, id);
  return id;
}

const baggage = propagation.createBaggage({ secret: { value: marks.baggage } });
await context.with(propagation.setBaggage(context.active(), baggage), () =>
  trace.getTracer('host').startActiveSpan('host', async (span) => {
    span.setAttribute('host.note', marks.hostAttribute);
    span.recordException(new Error(marks.hostError));
    // A host whose code asks for what is not there: what it typed is in the error.
    await turns.enqueue({ conversation: marks.text, text: 'x' }).catch(() => undefined);
    const ids = [await oneTurn('use a tool'), await oneTurn('fail')];
    const cancelled = await oneTurn('hang', async ({ type }, id) => {
      if (type === 'text' || type === 'part') await turns.cancel(id);
    });
    console.log(JSON.stringify({ turns: [...ids, cancelled] }));
    span.end();
  }),
);
await turns.close();
