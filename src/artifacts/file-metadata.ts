import { InvalidInputError, messageOf } from '../errors.ts';

/** A file's metadata as it is stored. Throws InvalidInputError for what is no JSON object. */
export function metadataJson(metadata: unknown): string {
  const text = jsonOf(metadata);
  if (text?.startsWith('{')) return text;
  throw new InvalidInputError('metadata', 'must be a plain object that JSON can hold');
}

function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    // V8 draws the circle over several lines.
    const why = messageOf(cause).split('\n')[0];
    throw new InvalidInputError('metadata', `cannot be written as JSON: ${why}`, { cause });
  }
}
