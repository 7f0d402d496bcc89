import { expect } from '@jest/globals';
import { Redis } from 'ioredis';
import { TurnsError } from '../../src/errors.ts';
import type { RunningWorker, StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { HttpReplyProxy } from '../support/http-reply-proxy.ts';
import { MongoReplyProxy } from '../support/mongo-reply-proxy.ts';
import { RedisReplyProxy } from '../support/redis-reply-proxy.ts';
import type { TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import { lockMs, stalledCheckMs } from './lane.ts';
import { checkTurn, followed, type LaneTurn } from './lane-turn.ts';
import { type Answers, httpAnswers, mongoAnswers, type Replacement, redisAnswers } from './reply-answers.ts';

/**
 * Whose answer is replaced: the worker's, from enqueueing to the end, in its first turn, which finds everything cold, or
 * in another one; or the web app's in one of its calls.
 */
export type Side = 'worker' | 'first' | 'enqueue' | 'follow';

/** Some wrong answers are waited for until their call's time is over. */
const limitMs = 90_000;

export interface ReplyPoint extends Replacement {
  readonly side: Side;
  readonly service: string;
}

/** A key prefix, a database, a worker and a web app behind proxies that replace answers; the judge sees all without one. */
export class ReplyLane {
  readonly system: TestSystem;
  readonly redis: Redis;
  /** Past the proxies. */
  readonly turns: Turns;
  readonly answers: Readonly<Record<Side, Readonly<Record<string, Answers>>>>;
  readonly #web: Turns;
  readonly #worker: RunningWorker;
  readonly #close: () => Promise<void>;

  static async open(system: TestSystem, name: string): Promise<ReplyLane> {
    const { options, opencode } = system;
    const mine = { prefix: `${options.prefix}-${name}`, mongo: system.database(name) };
    const [redis, webRedis] = await Promise.all([options.redis, options.redis].map(RedisReplyProxy.start));
    const [mongo, webMongo] = await Promise.all([mine.mongo, mine.mongo].map(MongoReplyProxy.start));
    const http = await HttpReplyProxy.start(opencode.url);
    if (!redis || !webRedis || !mongo || !webMongo) throw new Error('no proxies');
    const turns = await system.connect(mine);
    const web = await system.connect({ ...mine, redis: webRedis.url, mongo: webMongo.url });
    const server = { url: http.url, ...(opencode.password ? { password: opencode.password } : {}) };
    const behind = await system.connect({
      ...mine,
      redis: redis.url,
      mongo: mongo.url,
      opencode: server,
      lockLeaseMs: 1_000,
    });
    const worker = await behind.work({
      policies: { default: system.policy },
      lockMs,
      stalledCheckMs,
      // What a refused answer has left behind is looked for soon.
      sweeper: { everyMs: 1_000, minAgeMs: 1_000 },
    });
    const app = { redis: redisAnswers(webRedis), mongo: mongoAnswers(webMongo) };
    const own = { redis: redisAnswers(redis), mongo: mongoAnswers(mongo), opencode: httpAnswers(http) };
    const view = new Redis(options.redis);
    return new ReplyLane({
      system: { ...system, options: { ...options, ...mine } },
      redis: view,
      turns,
      web,
      worker,
      answers: { worker: own, first: own, enqueue: app, follow: app },
      close: async () => {
        await Promise.allSettled([behind, web, turns].map((each) => each.close()));
        await view.quit();
        await Promise.all([redis, webRedis, mongo, webMongo, http].map((proxy) => proxy.stop()));
      },
    });
  }

  private constructor(parts: {
    readonly system: TestSystem;
    readonly redis: Redis;
    readonly turns: Turns;
    readonly web: Turns;
    readonly worker: RunningWorker;
    readonly answers: ReplyLane['answers'];
    readonly close: () => Promise<void>;
  }) {
    this.system = parts.system;
    this.redis = parts.redis;
    this.turns = parts.turns;
    this.answers = parts.answers;
    this.#web = parts.web;
    this.#worker = parts.worker;
    this.#close = parts.close;
  }

  /**
   * One turn of the script with that answer replaced. Throws unless every promise was kept; answers whether the turn
   * came to that answer at all.
   */
  async attempt(point: ReplyPoint): Promise<boolean> {
    this.#forget();
    const done = this.answers[point.side][point.service]?.replace(point) ?? (() => false);
    try {
      await this.#run(point.side);
    } finally {
      this.#forget();
    }
    return done();
  }

  /** The labels of an undisturbed turn's answers, by side and service. */
  async watch(side: Side): Promise<Readonly<Record<string, readonly string[]>>> {
    this.#forget();
    let seen: Record<string, string[]> = {};
    await this.#run(side, () => {
      seen = Object.fromEntries(
        Object.entries(this.answers[side]).map(([service, answers]) => [service, [...answers.labels]]),
      );
    });
    return seen;
  }

  async close(): Promise<void> {
    await this.#close();
  }

  #forget(): void {
    for (const side of Object.values(this.answers)) for (const each of Object.values(side)) each.forget();
  }

  async #run(side: Side, ended = () => {}): Promise<void> {
    const conversation = await newConversation(this.turns);
    const marker = `answer of ${conversation}`;
    const id = await this.#enqueue(side, conversation, marker);
    const turn = side === 'follow' ? this.#follow(id, marker) : followed(this.turns, id, marker, limitMs);
    await turn.followed;
    ended();
    await checkTurn(this, turn);
    await eventually(() => expect(this.#worker.active).toBe(0));
  }

  /** Either it is stored, or a typed error says that it may not be; with the same key it is one turn in the end. */
  async #enqueue(side: Side, conversation: string, marker: string): Promise<string> {
    const input = { conversation, text: marker, idempotencyKey: marker };
    if (side !== 'enqueue') return (await this.turns.enqueue(input)).id;
    const messages = () => this.turns.models.Message.countDocuments({ conversation });
    let turn: StoredTurn | undefined;
    try {
      turn = await this.#web.enqueue(input);
    } catch (error) {
      expect(error).toBeInstanceOf(TurnsError);
      expect([0, 2]).toContain(await messages());
    }
    // A connection that was told of a replica is opened anew, which takes a moment.
    const again = await eventually(() => this.#web.enqueue(input));
    expect(again.id).toBe(turn?.id ?? again.id);
    expect(await messages()).toBe(2);
    return again.id;
  }

  /** By the web app's own connections; where it is told by a typed error that it cannot, it goes on behind what it has. */
  #follow(id: string, marker: string): LaneTurn {
    const entries: TurnEntry[] = [];
    const signal = AbortSignal.timeout(limitMs);
    let wrong: unknown;
    const follow = async (): Promise<void> => {
      const after = entries.at(-1)?.id;
      try {
        for await (const entry of this.#web.follow(id, { ...(after ? { after } : {}), signal }))
          entries.push(entry);
      } catch (error) {
        if (!(error instanceof TurnsError)) wrong ??= error;
        throw error;
      }
    };
    return { id, marker, entries, followed: eventually(follow).finally(() => expect(wrong).toBeUndefined()) };
  }
}
