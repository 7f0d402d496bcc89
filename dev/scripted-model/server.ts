import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { delay } from '../../src/timing/clock.ts';
import { refuseProduction } from '../services/service.ts';
import { type ModelRequest, parseRequest, type Step } from './script.ts';

export interface ScriptedModel {
  /** Without `/v1`. */
  readonly url: string;
  /** Every request so far, in order of arrival. */
  readonly requests: readonly ModelRequest[];
  /** Requests that were steps of turns; titles and summaries left out. */
  readonly turnRequests: readonly ModelRequest[];
  stop(): Promise<void>;
}

const fallback: Step = { text: ['I have ', 'no script ', 'for this.'] };

/**
 * An OpenAI-compatible server on loopback that says what it is told to, counts every request and sees when the
 * caller hangs up. `respond` answers the step for a request; undefined gives a fixed sentence.
 */
export async function startScriptedModel(
  respond: (request: ModelRequest) => Step | undefined,
): Promise<ScriptedModel> {
  refuseProduction();
  const requests: ModelRequest[] = [];
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    if (incoming.url === '/v1/models') return answer(response, 200, { object: 'list', data: [] });
    if (incoming.url !== '/v1/chat/completions')
      return answer(response, 404, { error: { message: 'no such route' } });
    const body = (await json(incoming)) as { stream?: boolean };
    const request = parseRequest(requests.length, body);
    requests.push(request);
    const closed = new AbortController();
    response.once('close', () => {
      request.outcome ??= response.writableFinished ? 'completed' : 'aborted';
      closed.abort();
    });
    await say(respond(request) ?? fallback, request, response, body.stream === true, closed.signal);
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    get turnRequests() {
      return requests.filter(({ kind }) => kind === 'turn');
    },
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function say(
  step: Step,
  request: ModelRequest,
  response: ServerResponse,
  stream: boolean,
  closed: AbortSignal,
) {
  if (step.delayMs) await delay(step.delayMs, undefined, closed);
  if (step.error)
    return answer(
      response,
      step.error.status,
      step.error.body ?? { error: { message: `scripted error ${step.error.status}` } },
    );
  const deltas = stream ? deltasOf(step) : [];
  const finish = step.finish ?? (step.tools?.length ? 'tool_calls' : 'stop');
  if (stream) response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (choice: object | undefined, extra: object = {}) =>
    response.write(
      `data: ${JSON.stringify({ ...envelope(request), choices: choice ? [{ index: 0, ...choice }] : [], ...extra })}\n\n`,
    );
  if (stream) send({ delta: { role: 'assistant' }, finish_reason: null });
  for (const [at, delta] of deltas.entries()) {
    if (step.gate && at === (step.gateAt ?? 0)) await Promise.race([step.gate, once(closed, 'abort')]);
    if (step.chunkDelayMs) await delay(step.chunkDelayMs, undefined, closed);
    if (closed.aborted) return;
    send({ delta, finish_reason: null });
  }
  if (step.gate && (step.gateAt ?? 0) >= deltas.length)
    await Promise.race([step.gate, once(closed, 'abort')]);
  if (closed.aborted) return;
  if (step.ending === 'hang') return;
  if (step.ending === 'reset') {
    response.socket?.resetAndDestroy();
    return;
  }
  if (!stream) return answer(response, 200, wholeAnswer(step, request, finish));
  send({ delta: {}, finish_reason: finish });
  send(undefined, { usage: usageOf(step) });
  response.end('data: [DONE]\n\n');
}

function deltasOf(step: Step): object[] {
  const { reasoning = [], text = [], tools = [] } = step;
  return [
    ...reasoning.map((chunk) => ({ reasoning_content: chunk })),
    ...text.map((chunk) => ({ content: chunk })),
    ...tools.map((tool, index) => ({ tool_calls: [{ index, ...toolCall(tool) }] })),
  ];
}

let calls = 0;

function toolCall({ id, name, input }: { id?: string; name: string; input: object }) {
  calls += 1;
  return {
    id: id ?? `call_${process.pid}_${calls}`,
    type: 'function',
    function: { name, arguments: JSON.stringify(input) },
  };
}

const envelope = ({ number, model }: ModelRequest) => ({
  id: `chatcmpl-${number}`,
  object: 'chat.completion.chunk',
  created: Math.floor(Date.now() / 1000),
  model,
});

function wholeAnswer(step: Step, request: ModelRequest, finish: string) {
  const message = {
    role: 'assistant',
    content: (step.text ?? []).join(''),
    tool_calls: step.tools?.map(toolCall),
  };
  return {
    ...envelope(request),
    object: 'chat.completion',
    choices: [{ index: 0, message, finish_reason: finish }],
    usage: usageOf(step),
  };
}

function usageOf({ usage = { input: 100, output: 20 } }: Step) {
  const { input, output, reasoning = 0, cached = 0 } = usage;
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: reasoning },
  };
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
