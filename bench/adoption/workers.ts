import type { TestSystem } from '../../test/support/system.ts';
import { startWorkerProcess, type WorkerProcess } from '../../test/support/worker-process.ts';

/** Worker processes with the same settings, one of which is killed now and then. */
export class Workers {
  readonly #start: () => Promise<WorkerProcess>;
  readonly #alive = new Set<WorkerProcess>();

  constructor(system: TestSystem, env: NodeJS.ProcessEnv) {
    this.#start = () => startWorkerProcess(system, { ...system.env, ...env });
  }

  /** Starts what is missing of `count`. */
  async fill(count: number): Promise<void> {
    while (this.#alive.size < count) this.#alive.add(await this.#start());
  }

  /** Kills the one that holds a turn, by its `run.owner`; answers when (`performance.now`). */
  killOwner(owner = ''): number {
    // Host, process id and something random.
    const pid = Number(owner.split(':').at(-2));
    const held = [...this.#alive].find((worker) => worker.process.pid === pid);
    if (!held) throw new Error(`no worker of ours is "${owner}"`);
    this.#alive.delete(held);
    const at = performance.now();
    held.kill('SIGKILL');
    return at;
  }

  async killAll(): Promise<void> {
    for (const worker of this.#alive) worker.kill('SIGKILL');
    await Promise.all([...this.#alive].map(({ exited }) => exited));
    this.#alive.clear();
  }
}
