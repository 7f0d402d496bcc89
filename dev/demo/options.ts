import { parseArgs } from 'node:util';
import { InvalidInputError, messageOf } from '../../src/errors.ts';

export interface DemoOptions {
  /** The last line of stdout is one JSON object, and nothing else goes there. */
  readonly json: boolean;
  /** Leave everything running at the end, until Ctrl-C. */
  readonly keep: boolean;
  /** `provider/model` with the person's own key; without it, the scripted model answers. */
  readonly model: string | undefined;
  readonly text: string;
  readonly help: boolean;
}

export const usage = `npm run demo -- [options]
  --json                   only one line of JSON on stdout, at the end
  --keep                   leave services, worker and board running until Ctrl-C
  --model provider/model   use your own provider and key instead of the scripted model
  --text "..."             what to ask
  --help                   this text`;

const accepted = {
  json: { type: 'boolean', default: false },
  keep: { type: 'boolean', default: false },
  model: { type: 'string' },
  text: {
    type: 'string',
    default: 'Write a haiku about queues to haiku.md, then tell me in one sentence what you did.',
  },
  help: { type: 'boolean', default: false },
} as const;

/** Throws InvalidInputError for an option that is none, or has no value that makes sense. */
export function demoOptions(args: readonly string[]): DemoOptions {
  const { model, ...values } = parse(args);
  if (model !== undefined && !/^[^/\s]+\/\S+$/.test(model))
    throw new InvalidInputError('--model', `must be provider/model, not "${model}"`);
  if (values.text.trim() === '') throw new InvalidInputError('--text', 'must not be empty');
  return { ...values, model };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: accepted }).values;
  } catch (cause) {
    throw new InvalidInputError('arguments', messageOf(cause), { cause });
  }
}
