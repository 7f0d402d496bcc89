import { openCodeIds } from '../../src/opencode/v1/ids.ts';
import type { EventFeed, FeedSink, OpenCode, PromptRequest } from '../../src/opencode/v1/server.ts';
import { upstreamV1 } from '../../src/opencode/v1/upstream.ts';
import type { Upstream } from '../../src/ports/upstream.ts';
import type { WireEvent, WireMessage, WireMessageInfo } from '../../src/reply/wire.ts';
import { systemClock } from '../../src/timing/clock.ts';

export interface SleepingUpstream extends Upstream {
  /** The texts of all prompts by session, in the order in which they came. */
  readonly prompts: ReadonlyMap<string, readonly string[]>;
  /** Prompts that came while the session was busy. */
  readonly overlaps: number;
}

interface Session {
  readonly id: string;
  readonly messages: WireMessage[];
  readonly texts: string[];
  busy: boolean;
}

const server = 'http://sleeping.invalid';
/** What one delta says. */
const piece = 'thirty bytes of text are told. ';

/**
 * An upstream without a network, to measure what is ours: a prompt's text says how long its turn sleeps, and
 * its whole answer comes then, in the events and messages of the real server; that of one with deltas piece by piece.
 */
export function sleepingUpstream(
  sleepMsOf: (text: string) => number,
  deltasOf: (text: string) => number = () => 0,
): SleepingUpstream {
  const sessions = new Map<string, Session>();
  const sinks = new Map<string, Set<FeedSink>>();
  const mint = openCodeIds(systemClock);
  let minted = 0;
  let overlaps = 0;

  const tell = (id: string, type: string, properties: WireEvent['properties']) => {
    for (const sink of sinks.get(id) ?? [])
      sink.event({ type, properties: { sessionID: id, ...properties } });
  };
  const messageOf = (info: WireMessageInfo, text: string, partId: string): WireMessage => ({
    info,
    parts: [{ id: partId, sessionID: info.sessionID, messageID: info.id, type: 'text', text }],
  });
  const answer = (session: Session, parentID: string, sleepMs: number, text: string) => {
    const now = Date.now();
    const ids = { sessionID: session.id, parentID };
    const info = { id: mint.message(), ...ids, role: 'assistant', time: { created: now } } as const;
    const partId = mint.part();
    const deltas = deltasOf(text);
    const whole = deltas === 0 ? text : piece.repeat(deltas);
    const partOf = (said: string, time: object) => ({ ...messageOf(info, said, partId).parts[0], time });
    const finish = () => {
      const end = Date.now();
      const done = messageOf(
        { ...info, time: { created: now, completed: end }, finish: 'stop' },
        whole,
        partId,
      );
      session.messages.push(done);
      session.busy = false;
      tell(session.id, 'message.part.updated', { part: partOf(whole, { start: now, end }) });
      tell(session.id, 'message.updated', { info: done.info });
      tell(session.id, 'session.status', { status: { type: 'idle' } });
      tell(session.id, 'session.idle', {});
    };
    tell(session.id, 'message.updated', { info });
    if (deltas === 0) {
      setTimeout(finish, sleepMs);
      return;
    }
    tell(session.id, 'message.part.updated', { part: partOf('', { start: now }) });
    const delta = { messageID: info.id, partID: partId, field: 'text', delta: piece };
    let told = 0;
    const step = () => {
      if (told === deltas) return finish();
      told += 1;
      tell(session.id, 'message.part.delta', delta);
      setTimeout(step, sleepMs / deltas);
    };
    step();
  };
  const prompt = async (id: string, { messageId, parts }: PromptRequest) => {
    const session = sessionOf(id);
    const text = parts[0]?.text ?? '';
    if (session.busy) overlaps += 1;
    session.busy = true;
    session.texts.push(text);
    const info = { id: messageId, sessionID: id, role: 'user', time: { created: Date.now() } } as const;
    session.messages.push(messageOf(info, text, parts[0]?.id ?? ''));
    tell(id, 'session.status', { status: { type: 'busy' } });
    answer(session, messageId, sleepMsOf(text), text);
  };
  const sessionOf = (id: string): Session => {
    const session = sessions.get(id);
    if (session) return session;
    throw new Error(`there is no session ${id}`);
  };

  const client = {
    server,
    createSession: async () => {
      minted += 1;
      const id = `ses_${minted}`;
      sessions.set(id, { id, messages: [], texts: [], busy: false });
      return { id };
    },
    prompt,
    statuses: async () =>
      Object.fromEntries([...sessions].filter(([, { busy }]) => busy).map(([id]) => [id, { type: 'busy' }])),
    messages: async (id: string) => [...sessionOf(id).messages],
    // Nothing else is asked of an upstream that does not fail.
  } as unknown as OpenCode;

  const feed: EventFeed = {
    subscribe: (_directory, [id = ''], sink) => {
      const all = sinks.get(id) ?? new Set();
      sinks.set(id, all.add(sink));
      sink.connected();
      return { ready: async () => undefined, add: () => undefined, close: () => void all.delete(sink) };
    },
  };
  return {
    ...upstreamV1({ client, feed, ids: mint, clock: systemClock }),
    get prompts() {
      return new Map([...sessions].map(([id, { texts }]) => [id, texts]));
    },
    get overlaps() {
      return overlaps;
    },
  };
}
