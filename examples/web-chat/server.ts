/**
 * A chat in the browser: the page posts what the user says, reads the turn as Server-Sent Events, cancels, and
 * answers what the agent asks. `PORT` (3000) on loopback, without a login: whoever reaches it may use it.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { serve } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { csrf } from 'hono/csrf';
import { HTTPException } from 'hono/http-exception';
import { secureHeaders } from 'hono/secure-headers';
import { configFromEnv, connect, type EnqueueInput, type InputAnswer, isTurnsError } from 'opencode-turns';
import { eventStream } from 'opencode-turns/web';

const turns = await connect(configFromEnv());
await turns.createIndexes();
// In production the worker is a process of its own; web apps need not reach the OpenCode server.
const worker = await turns.work({
  policies: {
    default: {
      model: process.env.OPENCODE_TURNS_MODEL ?? 'scripted/scripted',
      permissions: [{ permission: 'bash', pattern: '*', action: 'ask' }],
    },
  },
});

const beside = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const files = {
  '/': { path: beside('page.html'), type: 'text/html; charset=utf-8' },
  '/page.js': { path: beside('page.js'), type: 'text/javascript; charset=utf-8' },
  '/page.css': { path: beside('page.css'), type: 'text/css; charset=utf-8' },
  '/view.js': { path: fileURLToPath(import.meta.resolve('opencode-turns/view')), type: 'text/javascript' },
};
/** No upload is taken here, so a message is a few kilobytes. */
const maxBodyBytes = 256 * 1024;
const ourNames = new Set(['127.0.0.1', 'localhost', '[::1]']);
const statuses: Record<string, 400 | 404 | 409 | 503> = {
  invalid_input: 400,
  not_found: 404,
  turn_busy: 409,
  service_unavailable: 503,
};

const app = new Hono();
app.use(
  secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      connectSrc: ["'self'"],
      imgSrc: ["'self'", 'data:'],
      frameAncestors: ["'none'"],
      baseUri: ["'none'"],
      formAction: ["'self'"],
    },
    xFrameOptions: 'DENY',
  }),
);
// A name of somebody else's that leads here (DNS rebinding) would make their page one of ours.
app.use((context, next) =>
  ourNames.has(new URL(context.req.url).hostname)
    ? next()
    : Promise.resolve(context.text('Unknown host', 421)),
);
// A page of somebody else's must not speak for this user.
app.use(csrf());
// Counted while it is read: a length that was announced proves nothing.
app.use(
  bodyLimit({ maxSize: maxBodyBytes, onError: (context) => context.json({ error: 'too large' }, 413) }),
);
app.onError((error, context) => {
  if (error instanceof HTTPException) return error.getResponse();
  const status = isTurnsError(error) ? (statuses[error.code] ?? 500) : 500;
  return context.json({ error: status === 500 ? 'internal' : error.message }, status);
});

for (const [route, { path, type }] of Object.entries(files))
  app.get(route, async (context) =>
    context.body(await readFile(path, 'utf8'), 200, { 'content-type': type }),
  );
app.post('/conversations', async (context) => {
  const conversation = await turns.models.Conversation.create({ title: 'Web chat' });
  return context.json({ id: String(conversation._id) }, 201);
});
app.post('/conversations/:id/turns', async (context) => {
  // The page makes the key: a message that is sent twice is one turn.
  const { text, idempotencyKey } = await bodyOf(context);
  const conversation = context.req.param('id');
  const { id } = await turns.enqueue({ conversation, text, idempotencyKey } as EnqueueInput);
  return context.json({ id }, 202);
});
app.get('/turns/:id/events', (context) =>
  eventStream(turns, context.req.param('id'), {
    lastEventId: context.req.header('last-event-id'),
    signal: context.req.raw.signal,
  }),
);
app.post('/turns/:id/cancel', async (context) =>
  context.json({ result: await turns.cancel(context.req.param('id')) }),
);
app.post('/turns/:id/requests/:request', async (context) => {
  const { id, request } = context.req.param();
  return context.json({ open: await turns.answer(id, request, (await bodyOf(context)) as InputAnswer) });
});

/** What comes from outside is checked by `enqueue` and `answer`. */
async function bodyOf(context: Context): Promise<Record<string, unknown>> {
  const body: unknown = await context.req.json().catch(() => null);
  return typeof body === 'object' && body !== null ? { ...body } : {};
}

const server = serve(
  { fetch: app.fetch, hostname: '127.0.0.1', port: Number(process.env.PORT ?? 3000) },
  ({ port }) => console.log(`http://127.0.0.1:${port}`),
);

async function leave(): Promise<void> {
  server.close();
  if ('closeAllConnections' in server) server.closeAllConnections();
  await worker.stop();
  await turns.close();
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void leave());
