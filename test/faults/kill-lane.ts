import { expect } from '@jest/globals';
import { Redis } from 'ioredis';
import type { RunningWorker, StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/basic-auth.ts';
import { openCodeClient } from '../../src/opencode/client.ts';
import { eventually } from '../support/eventually.ts';
import type { TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import { startWorkerProcess } from '../support/worker-process.ts';
import { type Moment, NumberingProxy, type Point } from './numbering-proxy.ts';
import { expectIdleRedis, expectNoOrphan, expectSteps, expectWholeStory } from './promises.ts';

const lockMs = 1_500;
const stalledCheckMs = 500;
const file = 'a,b\n1,2\n';
const texts = { first: ['I ', 'write.'], last: ['Here ', 'it ', 'is.'] };

/** The script of every turn of the matrix: some text and a file, then the rest of the text. */
export const script = ({ step }: { step: number }) =>
  step === 0
    ? { text: texts.first, tools: [{ name: 'write', input: { filePath: 'table.csv', content: file } }] }
    : { text: texts.last };

export interface Outcome {
  readonly point: Point | undefined;
  readonly moment: Moment;
  /** False when the turn ended before the trap's number came. */
  readonly killed: boolean;
  /** What did not hold. */
  readonly failure: string | undefined;
}

/**
 * One worker process after the other, each behind the proxy and killed at its point; then a worker of this process,
 * which nobody disturbs, has to bring the turn home. A lane has a key prefix, a database and a proxy of its own.
 */
export class KillLane {
  readonly #system: TestSystem;
  readonly #proxy: NumberingProxy;
  readonly #turns: Turns;
  readonly #redis: Redis;

  static async open(system: TestSystem, name: string): Promise<KillLane> {
    const { options, opencode } = system;
    const prefix = `${options.prefix}-${name}`;
    const mongo = system.database(name);
    const proxy = await NumberingProxy.start({
      redis: options.redis,
      mongo,
      opencode: opencode.url,
    });
    // A session stays where it was minted, so whoever adopts must know the server by the same address.
    const server = { url: proxy.urls.opencode, password: opencode.password ?? '' };
    const turns = await system.connect({ prefix, mongo, opencode: server, lockLeaseMs: 1_000 });
    return new KillLane({ ...system, options: { ...options, prefix, mongo } }, proxy, turns);
  }

  private constructor(system: TestSystem, proxy: NumberingProxy, turns: Turns) {
    this.#system = system;
    this.#proxy = proxy;
    this.#turns = turns;
    this.#redis = new Redis(system.options.redis);
  }

  /** The chunks of a turn that nobody disturbs. */
  async points(): Promise<readonly Point[]> {
    const { failure } = await this.run(0, 'before');
    if (failure !== undefined) throw new Error(failure);
    return this.#proxy.points;
  }

  /** Kills the worker at chunk `number` of one turn, and says whether every promise held. */
  async run(number: number, moment: Moment): Promise<Outcome> {
    const victim = await this.#victim();
    const kill = async () => {
      victim.kill('SIGKILL');
      await victim.exited;
    };
    const conversation = await newConversation(this.#turns);
    const marker = `point ${number} ${moment} ${conversation}`;
    this.#proxy.arm({ number, moment, spring: kill });
    let rescuer: RunningWorker | undefined;
    let failure: string | undefined;
    try {
      const { id } = await this.#turns.enqueue({ conversation, text: marker });
      const entries: TurnEntry[] = [];
      const followed = this.#follow(id, entries);
      await eventually(
        () => expect(this.#proxy.sprung || entries.at(-1)?.type === 'finished').toBe(true),
        30_000,
      );
      await this.#proxy.whenSprung();
      rescuer = await this.#rescuer();
      await followed;
      await this.#check(id, marker, entries);
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
    const outcome = {
      point: this.#proxy.points.find((each) => each.number === number),
      moment,
      killed: this.#proxy.sprung,
      failure,
    };
    this.#proxy.disarm();
    await rescuer?.stop();
    await kill();
    return outcome;
  }

  async close(): Promise<void> {
    await this.#turns.close();
    await this.#redis.quit();
    await this.#proxy.stop();
  }

  async #follow(id: string, entries: TurnEntry[]): Promise<void> {
    const signal = AbortSignal.timeout(45_000);
    for await (const entry of this.#turns.follow(id, { signal })) entries.push(entry);
  }

  #victim() {
    const { redis, mongo, opencode } = this.#proxy.urls;
    return startWorkerProcess(this.#system, {
      ...this.#system.env,
      REDIS_URL: redis,
      MONGODB_URL: mongo,
      OPENCODE_URL: opencode,
      TURNS_LOCK_MS: String(lockMs),
      TURNS_STALLED_CHECK_MS: String(stalledCheckMs),
      OPENCODE_TURNS_LOCK_LEASE_MS: '1000',
    });
  }

  #rescuer(): Promise<RunningWorker> {
    if (this.#proxy.sprung) this.#proxy.disarm();
    return this.#turns.work({
      policies: { default: this.#system.policy },
      lockMs,
      stalledCheckMs,
      // A killed mint may have left a session, which the record's lock tells from one that is being minted.
      sweeper: { everyMs: 300, minAgeMs: 0 },
    });
  }

  async #check(id: string, marker: string, entries: readonly TurnEntry[]): Promise<void> {
    const { opencode, options } = this.#system;
    const stored = (await this.#turns.get(id)) as StoredTurn;
    const [first, last] = [texts.first.join(''), texts.last.join('')];
    expect(stored.error).toBeUndefined();
    expect(stored).toMatchObject({
      status: 'completed',
      content: `${first}\n\n${last}`,
      run: { phase: 'finished', reruns: 0, resends: 0 },
      artifacts: [{ filename: 'table.csv', bytes: file.length }],
    });
    expect(stored.parts.map(({ type }) => type)).toEqual(['text', 'tool', 'text']);
    expect(await this.#turns.files.list(id)).toEqual(stored.artifacts);
    expectSteps(this.#system, marker, 2);
    expectWholeStory(entries, stored);
    const client = openCodeClient({ address: serverAddress(opencode.url, undefined, opencode.password) });
    await expectNoOrphan(client, stored);
    await expectIdleRedis(this.#redis, options.prefix ?? '');
  }
}
