import { parseArgs } from 'node:util';

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
  --json               only one line of JSON on stdout, at the end
  --keep               leave services, worker and board running until Ctrl-C
  --model provider/model   use your own provider and key instead of the scripted model
  --text "..."         what to ask
  --help               this text`;

export function demoOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      model: { type: 'string' },
      text: {
        type: 'string',
        default: 'Write a haiku about queues to haiku.md, then tell me in one sentence what you did.',
      },
      help: { type: 'boolean', default: false },
    },
  });
  return { ...values, model: values.model };
}
