import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from '@jest/globals';
import { projectFiles, root } from './sources.ts';

/** What docs/glossary.md has another word for. `record` is a verb, and the name of functions of JSON and schemas. */
const retired: readonly (readonly [RegExp, string])[] = [
  [/\bwish(es|ed)?\b/i, 'control, ask for'],
  [/\bnudges?\b/i, 'notify'],
  [/(?<!z\.)(?<!to )\brecords?\b(?!\(|\.ts)/, 'conversation'],
  [/recordId|TurnRecord|\brecordless\b|record_gone/, 'conversation'],
  [/StoredPrompt|PromptAnswer|OpenPrompt|view\.prompts|promptTimeoutMs|'prompts/, 'request'],
  [/lease.?lost/i, 'ownership lost'],
  [/\bstrays?\b|jobless/i, 'orphan, missing job'],
  [/\bghosts?\b/i, 'expired request'],
  [/\bpark(s|ed)?\b/i, 'delay'],
  [/\bsession_gone\b|reason: 'interrupted'/, 'session_not_found, run_lost, aborted_upstream'],
  [/\b(a|one|each|every|next|second|of|two) looks?\b(?! like)/i, 'poll, scan, read'],
  [/LookResult|lookUpstream|lookDue/, 'poll'],
  [/[*/.;] Answers (how|whether|the|what|null|-?\d)/, 'returns'],
  // But for the option of ioredis.
  [/\bfamily\b(?![:'`?])/i, 'descendants'],
];

const mistakes = (text: string, name: string): string[] =>
  text
    .split('\n')
    .flatMap((line, at) =>
      retired
        .filter(([word]) => word.test(line))
        .map(([word, instead]) => `${name}:${at + 1}: ${word.exec(line)?.[0]} → ${instead}`),
    );

it('retired words are used nowhere in src and docs', () => {
  const files = projectFiles().filter(
    (file) =>
      /^(src|workers|examples)\/.*\.(ts|js|html)$|^docs\/.*\.md$|^(README|CONTRIBUTING|SECURITY)\.md$/.test(
        file,
      ) && file !== 'docs/glossary.md',
  );
  expect(files.length).toBeGreaterThan(200);
  expect(files.flatMap((file) => mistakes(readFileSync(path.join(root, file), 'utf8'), file))).toEqual([]);
});

it('sees each of them', () => {
  const text =
    'wishes\nnudge\na record of\nrecordId\nStoredPrompt\nlease-lost\nstray\nghost\nparked\n' +
    'session_gone\na look\nlookDue\n/** Answers whether\nfamily';
  expect(new Set(mistakes(text, 'x').map((line) => line.split(':')[1]))).toEqual(
    new Set(retired.map((_, at) => String(at + 1))),
  );
});

it('the glossary has 40 words at most, each once', () => {
  const rows = readFileSync(path.join(root, 'docs/glossary.md'), 'utf8').match(/^\| \*\*.*/gm) ?? [];
  const words = rows.map((row) => row.split('|')[1]);
  expect(words.length).toBeGreaterThan(30);
  expect(words.length).toBeLessThanOrEqual(40);
  expect(new Set(words).size).toBe(words.length);
});
