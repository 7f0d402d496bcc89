import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { authorOf } from '../../src/reply/turn-messages.ts';
import type { WireEvent, WireMessage } from '../../src/reply/wire.ts';

const directory = fileURLToPath(new URL('../fixtures/opencode-1.18.33/', import.meta.url));

export interface Recording {
  readonly name: string;
  readonly events: readonly WireEvent[];
  readonly messages: readonly WireMessage[];
  /** Whole message lists of sub-agents, by session id. */
  readonly children: ReadonlyMap<string, readonly WireMessage[]>;
  /** Ids of the messages that a person wrote, in order: one turn each. */
  readonly prompts: readonly string[];
  readonly sessionId: string;
}

/** Every scenario that was recorded from the real server. */
export const recordings: readonly Recording[] = readdirSync(directory)
  .filter((file) => file.endsWith('.events.jsonl'))
  .map((file) => read(file.slice(0, -'.events.jsonl'.length)));

export function recording(name: string): Recording {
  const found = recordings.find((one) => one.name === name);
  if (!found) throw new Error(`no recording "${name}"`);
  return found;
}

/** The recording as the server's `/event` route sends it. */
export function sseBytes({ events }: Pick<Recording, 'events'>): Uint8Array {
  return new TextEncoder().encode(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''));
}

/** A tool part of each kind and status that the server was seen to make, by `tool:status`. */
export function toolSamples(): Readonly<Record<string, unknown>> {
  return JSON.parse(readFileSync(`${directory}tool-parts.samples.json`, 'utf8'));
}

function read(name: string): Recording {
  const events = readFileSync(`${directory}${name}.events.jsonl`, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as WireEvent);
  const all = JSON.parse(readFileSync(`${directory}${name}.messages.json`, 'utf8')) as WireMessage[];
  const bySession = new Map<string, WireMessage[]>();
  for (const message of all) {
    const list = bySession.get(message.info.sessionID);
    if (list) list.push(message);
    else bySession.set(message.info.sessionID, [message]);
  }
  // The turn's own session comes first.
  const [[sessionId, messages] = ['', []], ...children] = bySession;
  const people = messages.filter(({ info, parts }) => info.role === 'user' && authorOf(parts) === 'person');
  const prompts = people.map(({ info }) => info.id);
  return { name, events, messages, children: new Map(children), prompts, sessionId };
}
