import type { ModelRequest, Step } from '../scripted-model/script.ts';

export const haiku = `Jobs wait, one by one;
a worker falls, another
picks up where it stood.
`;

const words = (text: string) => text.match(/\S+\s*/g) ?? [];

/** What the scripted model says in the demo: it thinks, writes a file, and closes with a sentence. */
export function demoScript({ step }: ModelRequest): Step {
  if (step === 0) {
    return {
      reasoning: words('The person wants a haiku in a file. Seventeen syllables, about queues. '),
      text: words('I will write the haiku to a file first. '),
      tools: [{ name: 'write', input: { filePath: 'haiku.md', content: haiku } }],
      usage: { input: 1_200, output: 90, reasoning: 20 },
      chunkDelayMs: 25,
    };
  }
  return {
    text: words(
      'Done: haiku.md holds three lines about jobs that wait, workers that fall, and turns that are never lost.',
    ),
    usage: { input: 1_350, output: 30, cached: 1_100 },
    chunkDelayMs: 25,
  };
}
