/** What every StopStore owes runs that were not seen to end; over the turn store that writes them. */
import { beforeAll, expect, it } from '@jest/globals';
import type { StopStore } from '../../src/ports/stop-store.ts';
import type { StopRef } from '../../src/turn/stored-turn.ts';
import type { TurnStoreWorld } from './turn-store.ts';

export interface StopStoreWorld extends Pick<TurnStoreWorld, 'store' | 'conversation'> {
  readonly stops: StopStore;
}

export function stopStoreContract(open: () => Promise<StopStoreWorld>): void {
  let world: StopStoreWorld;
  let count = 0;
  beforeAll(async () => {
    world = await open();
  });
  const ref = (): StopRef => {
    count += 1;
    return {
      sessionId: `ses_${count}`,
      server: 'http://a',
      directory: '/d',
      promptMessageId: `msg_${count}`,
    };
  };
  /** A turn that has left these open. */
  const left = async (openStops: readonly StopRef[], stopTriedAt = 1_000) => {
    const conversationId = await world.conversation();
    const { turn } = await world.store.create({ conversationId, text: 'x', policy: 'p', onBusy: 'enqueue' });
    await world.store.claim(turn, 'one');
    await world.store.write(
      { turnId: turn.id, epoch: 1 },
      { run: { openStops, stopTriedAt, promptedAt: 5 } },
    );
    return { turnId: turn.id, conversationId };
  };

  it('finds what a turn, a conversation or a session has open, and nothing else', async () => {
    const [one, two] = [ref(), ref()];
    const { turnId, conversationId } = await left([one, two]);
    const other = await left([ref()]);
    const found = [{ turnId, conversationId, stops: [one, two], since: 5 }];
    expect(await world.stops.open({ turnId, limit: 10 })).toEqual(found);
    expect(await world.stops.open({ conversationId, limit: 10 })).toEqual(found);
    expect(await world.stops.open({ sessionId: two.sessionId, limit: 10 })).toEqual(found);
    expect(await world.stops.open({ sessionId: 'ses_none', limit: 10 })).toEqual([]);
    expect(await world.stops.open({ turnId, conversationId: other.conversationId, limit: 10 })).toEqual([]);
  });

  it('brings last what was tried last, within the limit', async () => {
    const old = await left([ref()], 1);
    const older = await left([ref()], 0.5);
    const first = async (limit: number) => (await world.stops.open({ limit })).map(({ turnId }) => turnId);
    expect(await first(2)).toEqual([older.turnId, old.turnId]);
    await world.stops.tried(older.turnId);
    expect(await first(1)).toEqual([old.turnId]);
    for (const { turnId } of [old, older])
      for (const { stops } of await world.stops.open({ turnId, limit: 1 }))
        for (const stop of stops) await world.stops.close(turnId, stop);
  });

  it('closes one after the other, and forgets the turn with the last one', async () => {
    const [one, two] = [ref(), ref()];
    const { turnId } = await left([one, two]);
    await world.stops.close(turnId, one);
    await world.stops.close(turnId, one);
    expect(await world.stops.open({ turnId, limit: 1 })).toMatchObject([{ stops: [two] }]);
    await world.stops.close(turnId);
    expect(await world.stops.open({ turnId, limit: 1 })).toMatchObject([{ stops: [two] }]);
    await world.stops.close(turnId, two);
    expect(await world.stops.open({ turnId, limit: 1 })).toEqual([]);
    await world.stops.tried(turnId);
    expect(await world.stops.open({ turnId, limit: 1 })).toEqual([]);
    expect((await world.store.get(turnId))?.run).not.toHaveProperty('openStops');
  });
}
