import '../support/fuzz-seed.ts';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { arrange, type PartSource } from '../../src/reply/part-source.ts';

const part = (id: string, source: PartSource = 'wire') => ({ id, source });
const ids = (parts: readonly { id: string }[]) => parts.map(({ id }) => id).join('');

describe('the order of parts once upstream has told its own', () => {
  const never = () => false;
  const always = () => true;

  it('is upstream’s, and the others stay behind the part that they followed', () => {
    const current = [part('x', 'stream'), part('b'), part('y', 'stream'), part('z', 'stream'), part('a')];
    expect(ids(arrange(current, ['a', 'b'], always))).toBe('xabyz');
  });

  it('leaves out what does not stay, and what nobody holds', () => {
    expect(ids(arrange([part('a'), part('x'), part('b')], ['b', 'c', 'a'], never))).toBe('ba');
  });

  it('never loses, doubles or reorders more than it has to', () => {
    const letters = fc.uniqueArray(fc.constantFrom(...'abcdefghij'), { maxLength: 10 });
    fc.assert(
      fc.property(letters, letters, (held, settled) => {
        const result = arrange(
          held.map((id) => part(id)),
          settled,
          always,
        ).map(({ id }) => id);
        expect([...result].sort()).toEqual([...held].sort());
        expect(result.filter((id) => settled.includes(id))).toEqual(
          settled.filter((id) => held.includes(id)),
        );
        for (const [at, id] of held.entries()) {
          const before = held[at - 1];
          if (before !== undefined && !settled.includes(id))
            expect(result.indexOf(before) + 1).toBe(result.indexOf(id));
        }
      }),
    );
  });
});
