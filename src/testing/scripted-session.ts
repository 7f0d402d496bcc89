import type { PromptRequest } from '../opencode/v1/server.ts';
import type { NewSession } from '../ports/upstream.ts';
import type { WireEvent, WireMessage, WireSession } from '../reply/wire.ts';
import type { Clock } from '../timing/clock.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import type { AgentPrompt, AgentScript } from './agent.ts';
import { stored } from './memory-ids.ts';
import type { ScriptedRequests } from './scripted-requests.ts';
import { ScriptedRun } from './scripted-run.ts';

export interface SessionContext {
  readonly clock: Clock;
  readonly ids: { message(): string; part(): string };
  readonly newId: (kind: string) => string;
  readonly requests: ScriptedRequests;
  readonly emit: (event: WireEvent) => void;
  /** Told of each new prompt; what the agent does with it. */
  readonly prompted: (prompt: AgentPrompt) => AgentScript;
}

interface Exchange {
  user: WireMessage;
  runs: ScriptedRun[];
}

/** A session of a scripted server: its rules, its messages, and the run that it is busy with. */
export class ScriptedSession {
  readonly id: string;
  readonly directory: string;
  readonly #given: NewSession;
  readonly #context: SessionContext;
  readonly #created: number;
  readonly #exchanges: Exchange[] = [];
  #rules: readonly PermissionRule[];
  #running: ScriptedRun | undefined;

  constructor(given: NewSession, context: SessionContext) {
    this.id = context.newId('ses');
    this.directory = given.directory;
    this.#given = given;
    this.#context = context;
    this.#created = context.clock.now();
    this.#rules = given.permission ?? [];
  }

  get wire(): WireSession {
    const { title, directory, metadata } = this.#given;
    const time = { created: this.#created, updated: this.#created };
    return stored({ id: this.id, title, directory, metadata, permission: this.#rules, time });
  }

  get busy(): boolean {
    return this.#running !== undefined;
  }

  get messages(): readonly WireMessage[] {
    return this.#exchanges.flatMap(({ user, runs }) => [
      stored(user),
      ...runs.flatMap(({ messages }) => messages),
    ]);
  }

  addRules(rules: readonly PermissionRule[]): void {
    this.#rules = [...this.#rules, ...rules];
  }

  /** Stores the message and begins its run a moment later. The same message again is one, and runs anew when nothing runs. */
  prompt(request: PromptRequest): void {
    if (this.#running) return;
    const known = this.#exchanges.find(({ user }) => user.info.id === request.messageId);
    const user = this.#userMessage(request);
    const exchange = known ?? { user, runs: [] };
    exchange.user = user;
    if (!known) this.#exchanges.push(exchange);
    const { emit, ids, newId, clock, requests, prompted } = this.#context;
    emit({ type: 'message.updated', properties: { sessionID: this.id, info: stored(user.info) } });
    for (const part of user.parts)
      emit({ type: 'message.part.updated', properties: { sessionID: this.id, part, time: clock.now() } });
    this.#tellStatus('busy');
    const prompt = promptOf(request, this.id, this.directory);
    const script = prompted(prompt);
    const run: ScriptedRun = new ScriptedRun(
      {
        sessionId: this.id,
        promptMessageId: request.messageId,
        clock,
        requests,
        emit,
        newMessageId: () => ids.message(),
        newPartId: () => ids.part(),
        newRequestId: (kind) => newId(kind),
        rules: () => this.#rules,
        onEnd: () => this.#ended(run),
      },
      prompt,
    );
    exchange.runs.push(run);
    this.#running = run;
    setImmediate(() => void run.play(script));
  }

  abort(): void {
    this.#running?.abort();
  }

  /** Its server has died under it. */
  lose(): void {
    this.#running?.lose();
    this.#running = undefined;
    this.#context.requests.forget(this.id);
  }

  #ended(run: ScriptedRun): void {
    if (this.#running !== run) return;
    this.#running = undefined;
    this.#context.requests.forget(this.id);
    this.#tellStatus('idle');
    this.#context.emit({ type: 'session.idle', properties: { sessionID: this.id } });
  }

  #tellStatus(type: 'busy' | 'idle'): void {
    this.#context.emit({ type: 'session.status', properties: { sessionID: this.id, status: { type } } });
  }

  #userMessage({ messageId, parts }: PromptRequest): WireMessage {
    const time = { created: this.#context.clock.now() };
    return {
      info: { id: messageId, sessionID: this.id, role: 'user', time },
      parts: parts.map((part) => ({ ...part, sessionID: this.id, messageID: messageId })),
    };
  }
}

function promptOf(
  { parts, agent, model, variant, system }: PromptRequest,
  sessionId: string,
  directory: string,
): AgentPrompt {
  return {
    text: parts.map(({ text }) => text).join('\n'),
    sessionId,
    directory,
    ...(agent === undefined ? {} : { agent }),
    ...(model === undefined ? {} : { model: `${model.providerID}/${model.modelID}` }),
    ...(variant === undefined ? {} : { variant }),
    ...(system === undefined ? {} : { system }),
  };
}
