/**
 * Where a part comes from. `wire`: it has an upstream id and is in the message list. `stream`: made from events
 * only, absent from the message list; it survives finalization at its place.
 */
export type PartSource = 'wire' | 'stream';

interface Sourced {
  readonly id: string;
  readonly source: PartSource;
}

export const isStreamOnly = ({ source }: Sourced): boolean => source === 'stream';

/**
 * The order of parts once upstream's order is known: `settled` (ids) as it stands there, and each other part
 * that `stays` directly behind the one that it followed before. Ids that nobody holds are left out.
 */
export function arrange<P extends Sourced>(
  current: readonly P[],
  settled: readonly string[],
  stays: (part: P) => boolean,
): P[] {
  const held = new Map(current.map((part) => [part.id, part]));
  const order = settled.flatMap((id) => held.get(id) ?? []);
  const known = new Set(order);
  const first: P[] = [];
  const followers = new Map<P, P[]>();
  let behind = first;
  for (const part of current) {
    if (known.has(part)) {
      behind = [];
      followers.set(part, behind);
    } else if (stays(part)) behind.push(part);
  }
  return [...first, ...order.flatMap((part) => [part, ...(followers.get(part) ?? [])])];
}
