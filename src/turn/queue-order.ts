import { byPlace, type Placed, placeBetween, placeOf, placeOfSequence, wholePartOf } from './position.ts';

/** Where a waiting turn is to go. */
export type Place = 'first' | 'last' | { readonly before: string } | { readonly after: string };

/** A pending turn, as far as its place matters. */
export interface PlacedTurn extends Placed {
  readonly id: string;
  readonly isRunning: boolean;
}

const frontOfAll = placeOfSequence(0);

/**
 * Where a waiting turn stands once it was moved: between its new neighbours, and in front of every turn that is enqueued later.
 * Its own place when it stands right already; undefined when there is none left between the two. `pending`: all of the
 * conversation; a neighbour that `place` names is among those that wait.
 */
export function placeFor(turnId: string, place: Place, pending: readonly PlacedTurn[]): string | undefined {
  const waiting = pending.filter(({ isRunning }) => !isRunning).sort(byPlace);
  const own = waiting.find(({ id }) => id === turnId);
  const others = waiting.filter(({ id }) => id !== turnId).map(placeOf);
  const behindAll = placeOfSequence(Math.max(0, ...pending.map(wholePlace)) + 1);
  const [low, high] = gapOf(place, waiting, others, behindAll);
  const known = own && placeOf(own);
  return known !== undefined && low < known && known < high ? known : placeBetween(low, high);
}

/** Of one that was moved behind a turn that is over by now: that turn's sequence, which no later turn gets. */
const wholePlace = (turn: Placed): number => Math.max(turn.sequence, wholePartOf(placeOf(turn)));

function gapOf(
  place: Place,
  waiting: readonly PlacedTurn[],
  others: readonly string[],
  behindAll: string,
): readonly [string, string] {
  if (place === 'first') return [frontOfAll, others[0] ?? behindAll];
  if (place === 'last') return [others.at(-1) ?? frontOfAll, behindAll];
  const named = 'before' in place ? place.before : place.after;
  const neighbour = waiting.find(({ id }) => id === named);
  const at = neighbour ? placeOf(neighbour) : frontOfAll;
  // Two may have been moved to one place: what is between them is nowhere, so both are passed.
  return 'before' in place
    ? [others.findLast((other) => other < at) ?? frontOfAll, at]
    : [at, others.find((other) => other > at) ?? behindAll];
}
