/**
 * A process that speaks as much of OpenCode's HTTP as a turn needs that nothing goes wrong with, one event stream
 * per connection and directory. Its turns answer nothing until they are told to over `/control`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openCodeIds } from '../../src/opencode/v1/ids.ts';
import type { WireMessage } from '../../src/reply/wire.ts';
import { systemClock } from '../../src/timing/clock.ts';

interface Session {
  readonly id: string;
  readonly directory: string;
  readonly messages: WireMessage[];
  /** The answer under way. */
  writing: { readonly messageID: string; readonly partID: string; text: string } | undefined;
}

const mint = openCodeIds(systemClock);
const sessions = new Map<string, Session>();
const streams = new Map<string, Set<ServerResponse>>();
let minted = 0;
let events = 0;

const busy = () => [...sessions.values()].filter(({ writing }) => writing);

function tell({ id, directory }: Session, type: string, properties: Record<string, unknown>): void {
  events += 1;
  const event = {
    id: `evt_${String(events).padStart(12, '0')}`,
    type,
    properties: { sessionID: id, ...properties },
  };
  const frame = `data: ${JSON.stringify(event)}\n\n`;
  for (const stream of streams.get(directory) ?? []) stream.write(frame);
}

function openStream(directory: string, response: ServerResponse): void {
  const all = streams.get(directory) ?? new Set();
  streams.set(directory, all.add(response));
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (type: string) => response.write(`data: ${JSON.stringify({ type, properties: {} })}\n\n`);
  send('server.connected');
  const beat = setInterval(() => send('server.heartbeat'), 10_000);
  response.on('close', () => {
    clearInterval(beat);
    all.delete(response);
  });
}

function prompt(
  session: Session,
  { messageID, parts }: { messageID: string; parts: { id: string; text: string }[] },
) {
  const { id: sessionID, messages } = session;
  const created = Date.now();
  const part = { ...parts[0], id: parts[0]?.id ?? '', sessionID, messageID, type: 'text' };
  messages.push({ info: { id: messageID, sessionID, role: 'user', time: { created } }, parts: [part] });
  const writing = { messageID: mint.message(), partID: mint.part(), text: '' };
  session.writing = writing;
  const info = {
    id: writing.messageID,
    sessionID,
    parentID: messageID,
    role: 'assistant',
    time: { created },
  } as const;
  messages.push({ info, parts: [] });
  tell(session, 'session.status', { status: { type: 'busy' } });
  tell(session, 'message.updated', { info });
  const text = { id: writing.partID, sessionID, messageID: writing.messageID, type: 'text', text: '' };
  tell(session, 'message.part.updated', { part: { ...text, time: { start: created } } });
}

function say(session: Session): void {
  const { writing } = session;
  if (!writing) return;
  const delta = `word ${writing.text.length} `;
  writing.text += delta;
  const { messageID, partID } = writing;
  tell(session, 'message.part.delta', { messageID, partID, field: 'text', delta });
}

function finish(session: Session): void {
  const { writing, messages, id: sessionID } = session;
  const before = messages.pop();
  if (!writing || !before) return;
  session.writing = undefined;
  const now = Date.now();
  const { messageID, partID: id, text } = writing;
  const part = { id, sessionID, messageID, type: 'text', text, time: { start: now, end: now } };
  const info = {
    ...before.info,
    time: { created: before.info.time.created, completed: now },
    finish: 'stop',
  };
  messages.push({ info, parts: [part] });
  tell(session, 'message.part.updated', { part });
  tell(session, 'message.updated', { info });
  tell(session, 'session.status', { status: { type: 'idle' } });
  tell(session, 'session.idle', {});
}

/** Each busy session says so many words a second, spread evenly, for a while. Answers how many were said. */
async function stream(perSecond: number, ms: number): Promise<number> {
  const all = busy();
  const start = performance.now();
  let said = 0;
  while (performance.now() - start < ms) {
    const due = Math.floor(((performance.now() - start) / 1_000) * perSecond * all.length);
    for (; said < due; said += 1) say(all[said % all.length] as Session);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return said;
}

async function bodyOf(request: IncomingMessage): Promise<never> {
  let text = '';
  for await (const bytes of request) text += bytes;
  return (text === '' ? {} : JSON.parse(text)) as never;
}

async function answer(request: IncomingMessage, url: URL): Promise<unknown> {
  const directory = url.searchParams.get('directory') ?? '';
  const body = await bodyOf(request);
  const [, first = '', second = '', third = ''] = url.pathname.split('/');
  if (first === 'control') return control(second, body);
  if (first === 'global') return { healthy: true, version: '1.18.33' };
  if (first === 'question' || first === 'permission' || first === 'experimental') return [];
  if (first !== 'session') return undefined;
  if (second === 'status') {
    const here = busy().filter((session) => session.directory === directory);
    return Object.fromEntries(here.map(({ id }) => [id, { type: 'busy' }]));
  }
  if (second === '') {
    minted += 1;
    const session: Session = { id: `ses_${minted}`, directory, messages: [], writing: undefined };
    sessions.set(session.id, session);
    return { id: session.id, directory };
  }
  const session = sessions.get(second);
  if (!session) return undefined;
  if (third === 'prompt_async') return prompt(session, body) ?? null;
  if (third === 'message') return session.messages;
  return third === 'children' ? [] : undefined;
}

async function control(what: string, body: { perSecond: number; ms: number }): Promise<unknown> {
  if (what === 'stream') return { events: await stream(body.perSecond, body.ms) };
  if (what === 'finish') for (const session of busy()) finish(session);
  return { busy: busy().length, streams: [...streams.values()].reduce((sum, { size }) => sum + size, 0) };
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://fake');
  if (url.pathname === '/event') return openStream(url.searchParams.get('directory') ?? '', response);
  answer(request, url).then(
    (value) => {
      const status = value === undefined ? 404 : value === null ? 204 : 200;
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(status === 200 ? JSON.stringify(value) : undefined);
    },
    (error: unknown) => response.writeHead(500).end(String(error)),
  );
});
server.listen(0, '127.0.0.1', () => {
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});
process.on('disconnect', () => process.exit(0));
