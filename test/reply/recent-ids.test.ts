import { describe, expect, it } from '@jest/globals';
import { RecentIds } from '../../src/reply/recent-ids.ts';

describe('ids that were seen', () => {
  it('are recognized, in whatever order they come again', () => {
    const ids = new RecentIds(8);
    const order = ['c', 'a', 'd', 'b'];
    expect(order.map((id) => ids.add(id))).toEqual([true, true, true, true]);
    expect(['a', 'b', 'c', 'd'].map((id) => ids.add(id))).toEqual([false, false, false, false]);
    expect([ids.has('a'), ids.has('e')]).toEqual([true, false]);
  });

  it('are forgotten after as many others as the capacity says, and not before', () => {
    const ids = new RecentIds(3);
    for (const id of ['a', 'b', 'c']) ids.add(id);
    expect(ids.has('a')).toBe(true);
    ids.add('d');
    expect([ids.has('a'), ids.has('b'), ids.has('d')]).toEqual([false, true, true]);
  });
});
