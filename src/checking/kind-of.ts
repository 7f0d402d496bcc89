/** What a value is, in a few words for the message of an error. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return `the string ${JSON.stringify(value.slice(0, 40))}`;
  if (typeof value === 'number' || typeof value === 'bigint') return `the number ${value}`;
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}
