/**
 * Through the queue against the SDK alone, on the same real server, alternating in one run: from the request to
 * the first piece of text. Each round runs both ways, on a session of its own that is warm: a second turn.
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createOpencodeClient } from '@opencode-ai/sdk/v2/client';
import { startScriptedModel } from '../dev/scripted-model/server.ts';
import { startMongo } from '../dev/services/mongo.ts';
import { startOpenCode } from '../dev/services/opencode.ts';
import { startRedis } from '../dev/services/redis.ts';
import { connect } from '../src/index.ts';
import { type BenchOptions, type BenchResult, median, percentile, round } from './support.ts';

const model = { providerID: 'scripted', modelID: 'scripted' };
const modelDelayMs = 100;

export async function run({ quick = false }: BenchOptions): Promise<BenchResult> {
  const rounds = quick ? 10 : 60;
  const scripted = await startScriptedModel(() => ({ text: ['Hello', ' there'], delayMs: modelDelayMs }));
  const [redis, mongo, opencode] = await Promise.all([
    startRedis(console.error),
    startMongo(),
    startOpenCode({ modelUrl: scripted.url }),
  ]);
  const sandboxRoot = mkdtempSync(path.join(tmpdir(), 'opencode-turns-bench-'));
  const server = { url: opencode.url, ...(opencode.password ? { password: opencode.password } : {}) };
  const turns = await connect({ redis: redis.url, mongo: mongo.url, opencode: server, sandboxRoot });
  await turns.createIndexes();
  await turns.work({ policies: { default: { model: 'scripted/scripted' } } });
  const conversation = await turns.models.Conversation.create({ title: 'bench' });
  const direct = await directCaller(server, path.join(sandboxRoot, String(conversation._id)));

  const throughQueue = async () => {
    const start = performance.now();
    const turn = await turns.enqueue({ conversation, text: 'hello' });
    let first = 0;
    for await (const entry of turns.follow(turn.id)) {
      if (
        first === 0 &&
        (entry.type === 'text' ||
          (entry.type === 'part' && entry.part.type === 'text' && entry.part.text !== ''))
      ) {
        first = performance.now() - start;
      }
    }
    return first;
  };
  const queued: number[] = [];
  const alone: number[] = [];
  for (let at = -3; at < rounds; at += 1) {
    const [through, by] =
      at % 2 === 0 ? [await throughQueue(), await direct()] : await reversed(throughQueue, direct);
    if (at < 0) continue;
    queued.push(through);
    alone.push(by);
  }
  await turns.close();
  await Promise.all([redis.stop(), mongo.stop(), opencode.stop(), scripted.stop()]);
  rmSync(sandboxRoot, { recursive: true, force: true });
  const ratio = round(median(queued) / median(alone));
  return {
    bench: 'time-to-first-token',
    target: 'median through the queue ÷ SDK alone ≤ 1.05',
    ok: ratio <= 1.05,
    ratio,
    ratioP95: round(percentile(queued, 0.95) / percentile(alone, 0.95)),
    rounds,
    modelDelayMs,
    queuedMedianMs: round(median(queued), 1),
    aloneMedianMs: round(median(alone), 1),
    queuedP95Ms: round(percentile(queued, 0.95), 1),
    aloneP95Ms: round(percentile(alone, 0.95), 1),
  };
}

async function reversed(a: () => Promise<number>, b: () => Promise<number>): Promise<[number, number]> {
  const second = await b();
  return [await a(), second];
}

/** What a program would write with the SDK: one open event stream, then a prompt per call. */
async function directCaller(
  server: { url: string; password?: string },
  directory: string,
): Promise<() => Promise<number>> {
  mkdirSync(directory, { recursive: true });
  const authorization = `Basic ${Buffer.from(`opencode:${server.password ?? ''}`).toString('base64')}`;
  const sdk = createOpencodeClient({ baseUrl: server.url, directory, headers: { authorization } });
  const session = await sdk.session.create({ title: 'direct' }, { throwOnError: true });
  const sessionID = session.data.id;
  const { stream } = await sdk.event.subscribe();
  let onEvent: (type: string) => void = () => undefined;
  void (async () => {
    for await (const event of stream) {
      const { type, properties } = event as { type: string; properties: { sessionID?: string } };
      if (properties.sessionID === sessionID) onEvent(type);
    }
  })();
  return async () => {
    const start = performance.now();
    let first = 0;
    const done = new Promise<void>((resolve) => {
      onEvent = (type) => {
        if (type === 'message.part.delta' && first === 0) first = performance.now() - start;
        if (type === 'session.idle') resolve();
      };
    });
    await sdk.session.promptAsync(
      { sessionID, model, parts: [{ type: 'text', text: 'hello' }] },
      { throwOnError: true },
    );
    await done;
    return first;
  };
}
