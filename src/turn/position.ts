/**
 * Where a waiting turn stands among the others of its conversation: digits that compare as text, ten for the whole part and a
 * fraction behind them. A turn that nobody has moved stands where its sequence says, and stores nothing. Between any two
 * different places there is another: nothing is ever renumbered.
 */
export interface Placed {
  readonly sequence: number;
  /** Where it was moved to. */
  readonly position?: string;
}

const wholeDigits = 10;
/** How long a place may get; one move into the same gap after another adds about 0.3 digits. */
export const maxPositionDigits = 500;

export const placeOfSequence = (sequence: number): string => String(sequence).padStart(wholeDigits, '0');

export const wholePartOf = (place: string): number => Number(place.slice(0, wholeDigits));

export const placeOf = ({ sequence, position }: Placed): string => position ?? placeOfSequence(sequence);

/** The order in which turns run: by place, by age where two were moved to one place. */
export function byPlace(a: Placed, b: Placed): number {
  const [left, right] = [placeOf(a), placeOf(b)];
  if (left === right) return a.sequence - b.sequence;
  return left < right ? -1 : 1;
}

/** The middle of those places between two that have the fewest digits; undefined when there is none of so few. */
export function placeBetween(low: string, high: string): string | undefined {
  for (let digits = wholeDigits; digits <= maxPositionDigits; digits += 1) {
    // As whole numbers of so many digits: the first one above `low`, and the last one below `high`.
    const first = BigInt(low.slice(0, digits).padEnd(digits, '0')) + 1n;
    const cut = BigInt(high.slice(0, digits).padEnd(digits, '0'));
    const last = high.length > digits ? cut : cut - 1n;
    if (first <= last) return String((first + last) / 2n).padStart(digits, '0');
  }
  return undefined;
}
