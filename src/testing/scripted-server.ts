import { randomBytes } from 'node:crypto';
import { ConnectionError } from '../errors.ts';
import { openCodeIds } from '../opencode/v1/ids.ts';
import { upstreamV1 } from '../opencode/v1/upstream.ts';
import type { NewSession, Upstream } from '../ports/upstream.ts';
import type { Clock } from '../timing/clock.ts';
import type { AgentPrompt, AgentScript, ScriptedUpstream } from './agent.ts';
import { scriptedClient } from './scripted-client.ts';
import { ScriptedFeed } from './scripted-feed.ts';
import { ScriptedRequests } from './scripted-requests.ts';
import { ScriptedSession } from './scripted-session.ts';

/**
 * An OpenCode server in memory that plays a script in place of a model: it says what the agent says, in the messages and events
 * of the real one. `script` is what it does with each prompt; a text is all that it says.
 */
export function scriptedUpstream(script: AgentScript | string): ScriptedUpstream {
  return new ScriptedServer(script);
}

/** @internal */
export class ScriptedServer implements ScriptedUpstream {
  readonly prompts: AgentPrompt[] = [];
  readonly sessions = new Map<string, ScriptedSession>();
  readonly feed = new ScriptedFeed();
  #script: AgentScript;
  #away = false;
  #clock: Clock | undefined;
  #startedAt = 0;

  constructor(script: AgentScript | string) {
    this.#script = scriptOf(script);
  }

  script(script: AgentScript | string): void {
    this.#script = scriptOf(script);
  }

  goAway(): void {
    this.#away = true;
    this.feed.goAway(refused('GET', '/event'));
  }

  comeBack(): void {
    this.#away = false;
    this.feed.comeBack();
  }

  restart(): void {
    this.feed.goAway(refused('GET', '/event'));
    for (const session of this.sessions.values()) session.lose();
    this.#startedAt = this.#clock?.now() ?? 0;
    if (!this.#away) this.feed.comeBack();
  }

  forgetSessions(): void {
    for (const session of this.sessions.values()) session.lose();
    this.sessions.clear();
  }

  get startedAt(): number {
    return this.#startedAt;
  }

  /** Throws ConnectionError while it is away. */
  assertThere(method: string, path: string): void {
    if (this.#away) throw refused(method, path);
  }

  /** The port of it, under that clock. */
  upstream(clock: Clock): Upstream {
    this.#clock ??= clock;
    this.#startedAt ||= clock.now();
    const ids = openCodeIds(clock);
    const newId = (kind: string) => `${kind}_${randomBytes(13).toString('hex')}`;
    const directoryOf = (sessionID: unknown) => this.sessions.get(String(sessionID))?.directory ?? '';
    const requests = new ScriptedRequests((event) =>
      this.feed.emit(directoryOf(event.properties.sessionID), event),
    );
    const create = (given: NewSession): ScriptedSession => {
      const session = new ScriptedSession(given, {
        clock,
        ids,
        newId,
        requests,
        emit: (event) => this.feed.emit(given.directory, event),
        prompted: (prompt) => {
          this.prompts.push(prompt);
          return this.#script;
        },
      });
      this.sessions.set(session.id, session);
      const properties = { sessionID: session.id, info: session.wire };
      this.feed.emit(given.directory, { type: 'session.created', properties });
      return session;
    };
    const client = scriptedClient({ server: this, requests, create });
    return upstreamV1({ client, feed: this.feed, ids, clock });
  }
}

const scriptOf = (script: AgentScript | string): AgentScript =>
  typeof script === 'string' ? (agent) => agent.says(script) : script;

const refused = (method: string, path: string) =>
  new ConnectionError('the scripted server is away', { method, path });
