/** What every TurnJobs owes a turn that waits, whatever carries its job. */
import { beforeAll, expect, it } from '@jest/globals';
import type { TurnJobs } from '../../src/ports/turn-jobs.ts';
import type { WaitingTurn } from '../../src/turn/stored-turn.ts';

export interface TurnJobsWorld {
  readonly jobs: TurnJobs;
  newTurn(): WaitingTurn;
  /** Of its job; undefined when it has none. */
  state(turnId: string): Promise<string | undefined>;
  /** Takes the job that waits longest, which is this turn's, and ends it. */
  end(turnId: string, how: 'completed' | 'failed'): Promise<void>;
}

export function turnJobsContract(open: () => Promise<TurnJobsWorld>): void {
  let world: TurnJobsWorld;
  beforeAll(async () => {
    world = await open();
  });

  it('adds a job, once', async () => {
    const turn = world.newTurn();
    expect(await world.state(turn.id)).toBeUndefined();
    world.jobs.assertReachable();
    await world.jobs.add(turn, false);
    await world.jobs.add(turn, true);
    expect(await world.state(turn.id)).toBe('waiting');
    expect(await world.jobs.ensure(turn, { now: true })).toBe('there');
    await world.end(turn.id, 'completed');
  });

  it('delays one that is behind, until it is woken', async () => {
    const turn = world.newTurn();
    await world.jobs.add(turn, true);
    expect(await world.jobs.ensure(turn, { now: false })).toBe('there');
    expect(await world.state(turn.id)).toBe('delayed');
    await world.jobs.wake(turn);
    await world.jobs.wake(turn);
    expect(await world.state(turn.id)).toBe('waiting');
    await world.end(turn.id, 'completed');
  });

  it('ensures by waking what is delayed, and adding what is not there or was spent', async () => {
    const turn = world.newTurn();
    expect(await world.jobs.ensure(turn, { now: false })).toBe('added');
    await world.end(turn.id, 'completed');
    expect(await world.state(turn.id)).toBe('completed');
    await world.jobs.add(turn, false);
    expect(await world.state(turn.id)).toBe('completed');
    expect(await world.jobs.ensure(turn, { now: false })).toBe('added');
    expect(await world.state(turn.id)).toBe('waiting');
    await world.end(turn.id, 'failed');
    expect(await world.jobs.ensure(turn, { now: true })).toBe('added');
    await world.end(turn.id, 'completed');
    const delayed = world.newTurn();
    await world.jobs.add(delayed, true);
    expect(await world.jobs.ensure(delayed, { now: true })).toBe('woken');
    expect(await world.state(delayed.id)).toBe('waiting');
    await world.end(delayed.id, 'completed');
  });

  it('wakes one that has none', async () => {
    const turn = world.newTurn();
    await world.jobs.wake(turn);
    expect(await world.state(turn.id)).toBe('waiting');
    await world.end(turn.id, 'completed');
  });
}
