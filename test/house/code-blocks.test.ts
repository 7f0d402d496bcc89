import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from '@jest/globals';
import { blocksOf, complaintsOf, type Prelude } from './code-blocks.ts';
import { projectFiles, root } from './sources.ts';

const from = (module: string, name: string) => `import('${module}').${name}`;
const common = {
  turns: from('opencode-turns', 'Turns'),
  conversation: 'string',
  text: 'string',
  id: 'string',
  app: from('hono', 'Hono'),
  c: from('hono', 'Context'),
  EventSource: 'new (url: string) => { onmessage: (message: { data: string }) => void; close(): void }',
};

/** What stands around the blocks of a page, in the reader's own program. */
const preludes: Readonly<Record<string, Prelude>> = {
  'README.md': {
    names: {
      ...common,
      idempotencyKey: 'string',
      lastSeenId: 'string',
      render: `(shown: ${from('opencode-turns', 'TurnEntry')} | ${from('opencode-turns', 'TurnView')}) => void`,
      tripSchema: from('mongoose', 'Schema'),
      Trip: from('mongoose', 'Model<{ destination: string }>'),
    },
  },
  'docs/configuration.md': {
    types: { TripFields: '{ destination: string }' },
    names: { Trip: from('mongoose', 'Model<TripFields>') },
    files: { 'trip.mts': "import { Schema } from 'mongoose';\nexport const tripSchema = new Schema({});\n" },
  },
  'docs/browsers.md': {
    names: {
      ...common,
      turnId: 'string',
      requestId: 'string',
      request: from('node:http', 'IncomingMessage'),
      response: from('node:http', 'ServerResponse'),
      mayRead: '(c: unknown, turnId: string) => Promise<void>',
      render: `(view: ${from('opencode-turns', 'TurnView')}) => void`,
    },
  },
  'docs/artifacts-and-trust.md': {
    names: {
      ...common,
      model: 'string',
      sha256: 'string',
      content: 'Buffer',
      renderPage: '(report: unknown) => string',
      turnOfThisUser: `(c: unknown) => Promise<${from('opencode-turns', 'StoredTurn')}>`,
    },
  },
  'docs/conversations.md': {
    names: {
      ...common,
      conversation: from('opencode-turns', 'Conversation'),
      turnId: 'string',
      requestId: 'string',
      render: `(message: ${from('opencode-turns', 'ListedMessage')}) => void`,
      ask: `(request: ${from('opencode-turns', 'OpenRequest')}) => void`,
    },
  },
  'docs/shutdown-and-deploys.md': { names: common },
  'docs/testing.md': {
    names: { scriptedUpstream: `typeof import('opencode-turns/testing').scriptedUpstream` },
  },
  'docs/rendering-tools.md': { names: { part: from('opencode-turns', 'Part') } },
};

const pages = projectFiles().filter((file) =>
  /^(README|CONTRIBUTING|SECURITY)\.md$|^docs\/.*\.md$/.test(file),
);
const blocks = pages.flatMap((page) => blocksOf(page));
const code = blocks.filter(({ language }) => language === 'ts' || language === 'js');
/** Shows that mistakes are found, and where. */
const wrong = blocksOf(
  'docs/wrong.md',
  "# Wrong\n\n```ts\n\nawait turns.enqeue({ conversation: '1', text });\n```\n",
);

it('each block says its language, and none is one that nobody checks', () => {
  const checked = ['ts', 'js', 'sh', 'text', 'yaml', 'ini', ''];
  expect(blocks.filter(({ language }) => !checked.includes(language))).toEqual([]);
  expect(code.length).toBeGreaterThan(8);
  // Drawings only: code would have a language.
  const drawn = blocks.filter(({ language }) => language === '').map(({ page }) => page);
  expect(new Set(drawn)).toEqual(
    new Set(['docs/architecture.md', 'docs/shutdown-and-deploys.md', 'docs/turn-lifecycle.md']),
  );
});

it('TypeScript and JavaScript in README and docs compile against the sources; a mistake is named by page and line', () => {
  const names = { turns: common.turns, text: 'string' };
  const complaints = complaintsOf([...code, ...wrong], { ...preludes, 'docs/wrong.md': { names } });
  expect(complaints).toEqual([
    expect.stringMatching(/^docs\/wrong\.md\/4\.mts\(5,13\): error TS2551: .*'enqeue'.*'enqueue'/),
  ]);
}, 300_000);

it('shell blocks parse, and run what package.json has', () => {
  const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    scripts: object;
  };
  const shell = blocks.filter(({ language }) => language === 'sh');
  expect(shell.length).toBeGreaterThan(4);
  for (const { page, line, code } of shell) {
    const at = `${page}:${line}`;
    expect(() => execFileSync('bash', ['-n'], { input: code, stdio: 'pipe' })).not.toThrow();
    const run = [...code.matchAll(/npm (?:run (?:-s )?)?(?!ci\b|run\b|install\b)([\w:]+)/g)].map(
      ([, name]) => name,
    );
    expect([at, run.filter((name = '') => !(name in scripts))]).toEqual([at, []]);
  }
});
