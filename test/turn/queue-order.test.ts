import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { byPlace, placeOf } from '../../src/turn/position.ts';
import { type Place, type PlacedTurn, placeFor } from '../../src/turn/queue-order.ts';

/** Some turns that wait, and beside them the order in which they should run. */
class Model {
  turns: PlacedTurn[] = [];
  order: string[] = [];
  #sequence = 0;

  add(): void {
    this.#sequence += 2;
    this.turns.push({ id: `t${this.#sequence}`, sequence: this.#sequence, isRunning: false });
    this.order.push(`t${this.#sequence}`);
  }

  end(id: string): void {
    this.turns = this.turns.filter((turn) => turn.id !== id);
    this.order = this.order.filter((other) => other !== id);
  }

  move(id: string, place: Place): void {
    const position = placeFor(id, place, this.turns);
    if (position === undefined) throw new Error(`no place for ${id}`);
    const stays = this.turns.some((turn) => turn.id === id && placeOf(turn) === position);
    if (!stays) this.turns = this.turns.map((turn) => (turn.id === id ? { ...turn, position } : turn));
    const others = this.order.filter((other) => other !== id);
    others.splice(indexOf(place, others), 0, id);
    this.order = others;
  }

  sorted(): string[] {
    return [...this.turns].sort(byPlace).map(({ id }) => id);
  }
}

function indexOf(place: Place, others: readonly string[]): number {
  if (place === 'first') return 0;
  if (place === 'last') return others.length;
  return 'before' in place ? others.indexOf(place.before) : others.indexOf(place.after) + 1;
}

function placeNumber(choice: number, neighbour: string): Place {
  const places = ['first', 'last', { before: neighbour }, { after: neighbour }] as const;
  return places[choice % places.length] as Place;
}

describe('the order of turns that wait', () => {
  it.each(['last', { after: 't2' }] as const)(
    'has a place behind one that was moved behind the newest, when that one is over: %j',
    (place) => {
      const model = new Model();
      for (let times = 0; times < 3; times += 1) model.add();
      model.move('t2', 'last');
      model.end('t6');
      model.move('t4', place);
      model.add();
      expect(model.sorted()).toEqual(['t2', 't4', 't8']);
    },
  );

  it('is the one that was asked for, whatever is added, ended and moved', () => {
    const step = fc.tuple(fc.nat(4), fc.nat(59), fc.nat(59), fc.nat(3));
    fc.assert(
      fc.property(fc.noBias(fc.array(step, { minLength: 10, maxLength: 40 })), (steps) => {
        const model = new Model();
        for (const [what, which, beside, where] of steps) {
          const id = model.order[which % model.order.length];
          const others = model.order.filter((other) => other !== id);
          const neighbour = others[beside % others.length];
          if (what === 0 || id === undefined) model.add();
          else if (what === 1) model.end(id);
          else if (neighbour !== undefined) model.move(id, placeNumber(where, neighbour));
          expect(model.sorted()).toEqual(model.order);
        }
      }),
      { numRuns: 300 },
    );
  });
});
