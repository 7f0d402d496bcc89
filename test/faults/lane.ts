import { Redis } from 'ioredis';
import type { RunningWorker, StoredTurn, Turns } from '../../src/index.ts';
import type { TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';
import { checkTurn, expectNothingLeft, followed, type LaneTurn } from './lane-turn.ts';
import { NumberingProxy, type Trap } from './numbering-proxy.ts';

export const lockMs = 1_500;
export const stalledCheckMs = 500;

/**
 * A key prefix, a database and a proxy of its own, for turns whose worker has something done to it at one of its
 * messages. Lanes run side by side on one system.
 */
export class Lane {
  readonly system: TestSystem;
  readonly proxy: NumberingProxy;
  /** The web app's side, past the proxy. */
  readonly turns: Turns;
  readonly redis: Redis;

  static async open(system: TestSystem, name: string): Promise<Lane> {
    const { options, opencode } = system;
    const prefix = `${options.prefix}-${name}`;
    const mongo = system.database(name);
    const proxy = await NumberingProxy.start({ redis: options.redis, mongo, opencode: opencode.url });
    // A session stays where it was minted, so whoever adopts must know the server by the same address.
    const server = { url: proxy.urls.opencode, password: opencode.password ?? '' };
    const turns = await system.connect({ prefix, mongo, opencode: server, lockLeaseMs: 1_000 });
    return new Lane({ ...system, options: { ...options, prefix, mongo } }, proxy, turns);
  }

  private constructor(system: TestSystem, proxy: NumberingProxy, turns: Turns) {
    this.system = system;
    this.proxy = proxy;
    this.turns = turns;
    this.redis = new Redis(system.options.redis);
  }

  /** A worker process behind the proxy. */
  worker(): Promise<WorkerProcess> {
    const { redis, mongo, opencode } = this.proxy.urls;
    return startWorkerProcess(this.system, {
      ...this.system.env,
      REDIS_URL: redis,
      MONGODB_URL: mongo,
      OPENCODE_URL: opencode,
      OPENCODE_TURNS_LOCK_MS: String(lockMs),
      OPENCODE_TURNS_STALLED_CHECK_MS: String(stalledCheckMs),
      OPENCODE_TURNS_LOCK_LEASE_MS: '1000',
    });
  }

  /** Arms the trap and enqueues a turn on a conversation of its own. */
  async turn(trap: Trap): Promise<LaneTurn> {
    const conversation = await newConversation(this.turns);
    const marker = `point ${trap.number} ${trap.moment} ${conversation}`;
    this.proxy.arm(trap);
    const { id } = await this.turns.enqueue({ conversation, text: marker });
    return followed(this.turns, id, marker);
  }

  /** Throws unless every promise was kept to a turn of the script. */
  check(turn: LaneTurn): Promise<void> {
    return checkTurn(this, turn);
  }

  /** No session but the conversation's, which is idle; no job and no lock. */
  expectNothingLeft(stored: StoredTurn): Promise<void> {
    return expectNothingLeft(this, stored);
  }

  /** A worker of this process, past the proxy except to OpenCode, that brings home what a killed one has left. */
  rescuer(): Promise<RunningWorker> {
    if (this.proxy.sprung) this.proxy.disarm();
    return this.turns.work({
      policies: { default: this.system.policy },
      lockMs,
      stalledCheckMs,
      // A killed mint may have left a session, which the conversation's lock tells from one that is being minted.
      sweeper: { everyMs: 300, minAgeMs: 0 },
    });
  }

  async close(): Promise<void> {
    await this.turns.close();
    await this.redis.quit();
    await this.proxy.stop();
  }
}
