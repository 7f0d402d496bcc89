import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { byPlace, maxPositionDigits, placeBetween, placeOfSequence } from '../../src/turn/position.ts';

describe('places of waiting turns', () => {
  it('are those of their sequences until they are moved', () => {
    expect(placeOfSequence(124)).toBe('0000000124');
    expect([{ sequence: 12 }, { sequence: 4 }].sort(byPlace)).toEqual([{ sequence: 4 }, { sequence: 12 }]);
  });

  it.each([
    ['0000000000', '0000000124', '0000000062'],
    ['0000000124', '0000000125', '00000001245'],
    ['0000000124', '00000001241', '000000012405'],
    ['00000001249', '0000000125', '000000012495'],
    ['0000000124', '0000000126', '0000000125'],
  ])('between %s and %s is %s', (low, high, middle) => {
    expect(placeBetween(low, high)).toBe(middle);
  });

  it('are none between a place and itself', () => {
    expect(placeBetween('0000000124', '0000000124')).toBeUndefined();
  });

  it('have another between any two, however often one gap is halved', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 1, maxLength: 300 }), (choices) => {
        const places = ['0000000000', '0000000007', '0000000008'];
        for (const choice of choices) {
          const at = choice % (places.length - 1);
          const [low, high] = [places[at] as string, places[at + 1] as string];
          const middle = placeBetween(low, high) as string;
          expect(low < middle && middle < high).toBe(true);
          places.splice(at + 1, 0, middle);
        }
        expect(Math.max(...places.map(({ length }) => length))).toBeLessThan(maxPositionDigits / 2);
      }),
    );
  });

  it('end where a gap was halved too often to keep on', () => {
    let [moves, high] = [0, '0000000001'];
    for (let next: string | undefined = high; next; moves += 1) {
      high = next;
      next = placeBetween('0000000000', high);
    }
    expect(moves).toBeGreaterThan(1_000);
    expect(high.length).toBeLessThanOrEqual(maxPositionDigits);
  });
});
