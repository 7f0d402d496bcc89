import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../errors.ts';
import type { WireError, WireMessage } from '../reply/wire.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import { matches } from '../turn/wildcard.ts';
import type { Agent, AgentCall, AgentFailure, AgentPrompt, AgentQuestion, AgentScript } from './agent.ts';
import { type MessageContext, ScriptedMessage } from './scripted-message.ts';
import type { ScriptedRequests } from './scripted-requests.ts';

export interface RunContext extends MessageContext {
  readonly promptMessageId: string;
  readonly newMessageId: () => string;
  readonly newRequestId: (kind: 'que' | 'per') => string;
  readonly requests: ScriptedRequests;
  /** Of the session, as they are now. */
  readonly rules: () => readonly PermissionRule[];
  readonly onEnd: () => void;
}

/** In the server's own words, by which a run that a person has ended is told from one that was lost. */
const refused = 'The user rejected permission to use this specific tool call';
const dismissed = 'The user dismissed this question';
const denied = 'The user has specified a rule which prevents you from using this specific tool call.';
const aborted: WireError = { name: 'MessageAbortedError', data: { message: 'Aborted' } };
const editing = new Set(['write', 'edit', 'patch', 'multiedit']);

/** A person has refused: the server ends the loop there. */
class Refused extends Error {}

class Failed extends Error {
  readonly error: WireError;
  constructor({ name = 'APIError', message, statusCode }: AgentFailure) {
    super(message);
    this.error = {
      name,
      data: { message, isRetryable: false, ...(statusCode === undefined ? {} : { statusCode }) },
    };
  }
}

/** One prompt that a script answers: its messages, and the events that tell of them. */
export class ScriptedRun implements Agent {
  readonly #context: RunContext;
  readonly #prompt: AgentPrompt;
  readonly #controller = new AbortController();
  readonly #messages: ScriptedMessage[] = [];
  #current: ScriptedMessage;
  #calls = 0;
  #over = false;

  constructor(context: RunContext, prompt: AgentPrompt) {
    this.#context = context;
    this.#prompt = prompt;
    this.#current = this.#next();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get messages(): readonly WireMessage[] {
    return this.#messages.map(({ wire }) => wire);
  }

  /** Plays the script to its end, whatever that is. Never throws. */
  async play(script: AgentScript): Promise<void> {
    try {
      this.signal.throwIfAborted();
      await script(this, this.#prompt);
      this.#finish();
    } catch (error) {
      if (this.#over) return;
      if (error instanceof Refused) this.#end(() => this.#current.end('tool-calls'));
      else
        this.#fail(
          error instanceof Failed
            ? error.error
            : { name: 'UnknownError', data: { message: messageOf(error) } },
        );
    }
  }

  /** The server stops it, and keeps what is there. */
  abort(): void {
    if (this.#over) return;
    for (const { id, callID, tool, state } of this.#current.tools) {
      const { status, input, time } = state as Record<string, unknown>;
      if (status !== 'running') continue;
      const ended = { status: 'error', input, error: 'Tool execution aborted', time };
      this.#current.tool(id, String(callID), String(tool), { ...ended, time: this.#ended(time) });
    }
    this.#fail(aborted);
    this.#controller.abort(new DOMException('the run was aborted', 'AbortError'));
  }

  /** The server has died: what it has stored stays as it is, and nobody ends it. */
  lose(): void {
    this.#over = true;
    this.#controller.abort(new DOMException('the server was restarted', 'AbortError'));
  }

  says(text: string): void {
    this.#open().write('text', text);
  }

  thinks(text: string): void {
    this.#open().write('reasoning', text);
  }

  spends({ cost = 0, input = 0, output = 0 }: Parameters<Agent['spends']>[0]): void {
    const message = this.#open();
    message.cost = cost;
    message.tokens = { ...message.tokens, input, output };
  }

  async uses(tool: string, call: AgentCall = {}): Promise<boolean> {
    return this.#call(tool, call, async () => call.output ?? '');
  }

  async writes(filename: string, content: string): Promise<boolean> {
    const filePath = path.resolve(this.#prompt.directory, filename);
    const call = { input: { filePath, content }, metadata: { filepath: filePath }, pattern: filename };
    return this.#call('write', call, async () => {
      await mkdir(path.dirname(filePath), { recursive: true });
      await writeFile(filePath, content);
      return 'Wrote file successfully.';
    });
  }

  async asks(...questions: readonly AgentQuestion[]): Promise<readonly (readonly string[])[]> {
    const { requests, sessionId, newRequestId } = this.#context;
    const asked = questions.map(({ question, header = question, options, multiple }) => ({
      question,
      header,
      options: options.map((label) => ({ label, description: '' })),
      ...(multiple === undefined ? {} : { multiple }),
    }));
    const call = this.#begin('question', { questions: asked });
    const answers = await requests.ask({
      id: newRequestId('que'),
      sessionID: sessionId,
      questions: asked,
      tool: { messageID: this.#current.info.id, callID: call.callId },
    });
    this.signal.throwIfAborted();
    if (answers === null) {
      call.fail(dismissed);
      throw new Refused();
    }
    call.complete('User has answered your questions.', { answers });
    return answers;
  }

  fails(failure: AgentFailure): never {
    throw new Failed(failure);
  }

  hangs(): Promise<never> {
    return new Promise((_, reject) => {
      if (this.signal.aborted) reject(this.signal.reason);
      this.signal.addEventListener('abort', () => reject(this.signal.reason), { once: true });
    });
  }

  async #call(tool: string, call: AgentCall, run: () => Promise<string>): Promise<boolean> {
    const { input = {}, metadata = {}, error } = call;
    const begun = this.#begin(tool, input);
    const refusal = await this.#refusal(tool, call, begun.callId);
    this.signal.throwIfAborted();
    if (refusal !== undefined) {
      begun.fail(refusal);
      if (refusal === `${refused}.`) throw new Refused();
      return false;
    }
    if (error !== undefined) {
      begun.fail(error);
      return true;
    }
    const output = await run();
    this.signal.throwIfAborted();
    begun.complete(output, metadata);
    return true;
  }

  /** Why the tool may not run, in the server's words; undefined when it may. The last rule that matches decides. */
  async #refusal(tool: string, call: AgentCall, callID: string): Promise<string | undefined> {
    const { permission = editing.has(tool) ? 'edit' : tool } = call;
    const pattern = call.pattern ?? patternIn(call.input);
    const rule = this.#context
      .rules()
      .findLast((each) => matches(each.permission, permission) && matches(each.pattern, pattern));
    if (rule?.action === 'deny') return denied;
    if (rule?.action !== 'ask') return undefined;
    const { requests, sessionId, newRequestId } = this.#context;
    const { reply, message } = await requests.askPermission({
      id: newRequestId('per'),
      sessionID: sessionId,
      permission,
      patterns: [pattern],
      metadata: call.input ?? {},
      always: [pattern],
      tool: { messageID: this.#current.info.id, callID },
    });
    if (reply !== 'reject') return undefined;
    return message === undefined ? `${refused}.` : `${refused} with the following feedback: ${message}`;
  }

  #begin(tool: string, input: Readonly<Record<string, unknown>>) {
    const message = this.#open();
    this.#calls += 1;
    const callId = `call_${this.#calls}`;
    const id = this.#context.newPartId();
    const time = { start: this.#context.clock.now() };
    message.tool(id, callId, tool, { status: 'pending', input: {}, raw: '' });
    message.tool(id, callId, tool, { status: 'running', input, time });
    const end = (state: Readonly<Record<string, unknown>>) =>
      message.tool(id, callId, tool, { ...state, input, time: this.#ended(time) });
    return {
      callId,
      complete: (output: string, metadata: Readonly<Record<string, unknown>>) =>
        end({ status: 'completed', output, metadata, title: '' }),
      fail: (error: string) => end({ status: 'error', error }),
    };
  }

  readonly #ended = (time: unknown) => ({ ...(time as object), end: this.#context.clock.now() });

  /** The step that goes on: what a model says after its calls is a new one. */
  #open(): ScriptedMessage {
    this.signal.throwIfAborted();
    const { tools } = this.#current;
    const isOver = tools.length > 0 && tools.every(({ state }) => isEnded(state));
    if (!isOver) return this.#current;
    this.#current.end('tool-calls');
    this.#current = this.#next();
    return this.#current;
  }

  #next(): ScriptedMessage {
    const { newMessageId, promptMessageId } = this.#context;
    const message = new ScriptedMessage(this.#context, newMessageId(), promptMessageId);
    this.#messages.push(message);
    return message;
  }

  #finish(): void {
    if (this.#over) return;
    // After its last calls a model is asked once more, and may say nothing.
    const last = this.#open();
    this.#end(() => last.end('stop'));
  }

  #fail(error: WireError): void {
    this.#end(() => {
      const { emit, sessionId: sessionID } = this.#context;
      emit({ type: 'session.error', properties: { sessionID, error } });
      this.#current.fail(error);
    });
  }

  #end(how: () => void): void {
    if (this.#over) return;
    this.#over = true;
    how();
    this.#context.onEnd();
  }
}

const isEnded = (state: unknown) =>
  ['completed', 'error'].includes(String((state as { status?: unknown })?.status));

function patternIn(input: Readonly<Record<string, unknown>> = {}): string {
  const { command, filePath } = input;
  return ([command, filePath].find((value) => typeof value === 'string') as string | undefined) ?? '*';
}
