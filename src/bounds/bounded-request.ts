import { boundedValue, hardestCut } from './bounded-part.ts';
import { maxRequestBytes } from './byte-budget.ts';
import { jsonBytes } from './cut-text.ts';

type Request = Readonly<Record<string, unknown>>;

/**
 * What upstream asks, as it is stored and told, at most `maxRequestBytes` of JSON: its longest strings and lists cut,
 * each string with a mark that says how many bytes are left out. A tool may put a whole file into what it asks.
 */
export function fittedRequest(request: Request): Request {
  for (let level = 0; level < hardestCut; level += 1) {
    const fitted = boundedValue(request, level) as Request;
    if (jsonBytes(fitted) <= maxRequestBytes) return fitted;
  }
  return boundedValue(request, hardestCut) as Request;
}
