import { z } from 'zod';

/** Timers of Node.js take no more: `setTimeout` fires at once for a longer wait. */
export const maxTimerMs = 2_147_483_647;
export const dayMs = 86_400_000;
export const weekMs = 7 * dayMs;

const shownNumber = (value: number) => value.toLocaleString('en-US');

const bounds = (min: number, max: number) => `from ${shownNumber(min)} to ${shownNumber(max)}`;

/** A whole number within bounds that every refusal names. Fractions would reach Redis' scripts, BullMQ and timers. */
export function wholeNumber(min: number, max: number) {
  const problem = `must be a whole number ${bounds(min, max)}`;
  return z.int(problem).min(min, problem).max(max, problem);
}

/** The same, or `Infinity` for no limit. */
export function wholeOrNoLimit(min: number, max: number) {
  return orNoLimit(min, max, 'a whole number', Number.isInteger).meta({ type: 'integer' });
}

/** A number within bounds, or `Infinity` for no limit. */
export function numberOrNoLimit(min: number, max: number) {
  return orNoLimit(min, max, 'a number', () => true).meta({ type: 'number' });
}

function orNoLimit(min: number, max: number, what: string, fits: (value: number) => boolean) {
  const within = (value: unknown) =>
    typeof value === 'number' &&
    (value === Number.POSITIVE_INFINITY || (value >= min && value <= max && fits(value)));
  const schema = z.custom<number>(within, `must be ${what} ${bounds(min, max)}, or Infinity for no limit`);
  return schema.meta({ minimum: min, maximum: max, noLimit: true });
}
