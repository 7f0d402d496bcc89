import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { StoredTurn, TurnEntry } from '../../src/index.ts';
import type { TestSystem } from '../support/system.ts';

const program = fileURLToPath(new URL('../support/side-process.mjs', import.meta.url));

interface Line {
  readonly ready?: true;
  readonly report?: string;
  readonly seq?: number;
  readonly entry?: TurnEntry;
  readonly done?: unknown;
  readonly failed?: string;
}

interface Waiting {
  readonly entries: TurnEntry[];
  readonly ended: ReturnType<typeof pending<unknown>>;
}

/** A promise that is settled from outside. */
function pending<T>() {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<T>((settle, refuse) => {
    resolve = settle;
    reject = refuse;
  });
  return { promise, resolve, reject };
}

/** A process of one version, told what to do from here. */
export class Side {
  /** What it has reported instead of thrown. */
  readonly reports: string[] = [];
  readonly #child: ChildProcess;
  readonly #ready = pending<void>();
  readonly #waiting = new Map<number, Waiting>();
  #seq = 0;

  constructor(entry: string, { options, policy }: TestSystem, more: object = {}) {
    const { reporter: _reporter, ...plain } = options;
    const given = { ...plain, directory: policy.directory(), ...more };
    this.#child = spawn(process.execPath, [program, entry], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, SIDE_OPTIONS: JSON.stringify(given) },
    });
    if (!this.#child.stdout) throw new Error('no stdout');
    createInterface({ input: this.#child.stdout }).on('line', (text) => this.#take(JSON.parse(text) as Line));
    this.#child.once('exit', () => {
      const gone = new Error('the process has ended');
      this.#ready.reject(gone);
      for (const { ended } of this.#waiting.values()) ended.reject(gone);
    });
    this.#ready.promise.catch(() => undefined);
  }

  static async start(entry: string, system: TestSystem, more?: object): Promise<Side> {
    const side = new Side(entry, system, more);
    await side.#ready.promise;
    return side;
  }

  static async worker(entry: string, system: TestSystem, more?: object): Promise<Side> {
    const side = await Side.start(entry, system, more);
    await side.#call('work').ended;
    return side;
  }

  /** A conversation of the model with ids of its own (`ownIds`). */
  own = (id: string) => this.#call('own', id).ended as Promise<string>;
  conversation = () => this.#call('conversation').ended as Promise<string>;
  enqueue = (conversation: string, text: string) =>
    this.#call('enqueue', { conversation, text }).ended as Promise<string>;
  get = (turnId: string) => this.#call('get', turnId).ended as Promise<StoredTurn>;

  /** `entries` grows; `leave` ends it where it is. */
  follow(turnId: string, after?: string) {
    const { entries, ended, seq } = this.#call('follow', turnId, after);
    const leave = async () => {
      await this.#call('leave', seq).ended;
      await ended;
    };
    return { entries, ended, leave };
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  #call(call: string, ...args: unknown[]) {
    this.#seq += 1;
    const seq = this.#seq;
    const waiting: Waiting = { entries: [], ended: pending<unknown>() };
    waiting.ended.promise.catch(() => undefined);
    this.#waiting.set(seq, waiting);
    this.#child.stdin?.write(`${JSON.stringify({ seq, call, args })}\n`);
    return { seq, entries: waiting.entries, ended: waiting.ended.promise };
  }

  #take({ ready, report, seq, entry, done, failed }: Line): void {
    if (ready) this.#ready.resolve();
    if (report !== undefined) this.reports.push(report);
    const waiting = seq === undefined ? undefined : this.#waiting.get(seq);
    if (entry) waiting?.entries.push(entry);
    if (failed !== undefined) waiting?.ended.reject(new Error(failed));
    else if (done !== undefined) waiting?.ended.resolve(done);
  }
}
