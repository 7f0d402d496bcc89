import { expect } from '@jest/globals';
import type { RunningWorker } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { services } from './chunk-labels.ts';
import type { Lane } from './lane.ts';
import type { LaneTurn } from './lane-turn.ts';
import type { Attempt } from './matrix.ts';
import type { Trap } from './numbering-proxy.ts';

/**
 * One worker process, killed at its point of the turn that `begin` brings on its way; then one of this process, which
 * nobody disturbs, brings the turn home, and `check` throws unless every promise was kept.
 */
export const killing =
  (
    begin: (lane: Lane, trap: Trap) => Promise<LaneTurn>,
    check: (lane: Lane, turn: LaneTurn) => Promise<void>,
  ): Attempt =>
  async (lane, number, moment) => {
    const { proxy } = lane;
    const victim = await lane.worker();
    const kill = async () => {
      victim.kill('SIGKILL');
      await victim.exited;
    };
    let rescuer: RunningWorker | undefined;
    try {
      const turn = await begin(lane, { number, moment, takes: () => services, spring: kill });
      await eventually(
        () => expect(proxy.sprung || turn.entries.at(-1)?.type === 'finished').toBe(true),
        30_000,
      );
      await proxy.whenSprung();
      rescuer = await lane.rescuer();
      await turn.followed;
      await check(lane, turn);
    } finally {
      proxy.disarm();
      await rescuer?.stop();
      await kill();
    }
  };
