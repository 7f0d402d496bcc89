import '../support/fuzz-seed.ts';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ToolDisplay } from '../../src/reply/tool-display.ts';
import { toolPart } from '../../src/reply/tool-part.ts';
import { knownTool, toolTable } from '../../src/reply/tool-table.ts';
import type { WirePart } from '../../src/reply/wire.ts';
import { recordings, toolSamples } from '../support/recordings.ts';

const samples = toolSamples();
const show = (tool: string, state: Record<string, unknown> = {}, options = {}) =>
  new ToolDisplay({ type: 'tool', id: 'p1', callID: 'c1', tool, state }, options);

/** Every getter of the view model. */
const getters = Object.entries(Object.getOwnPropertyDescriptors(ToolDisplay.prototype)).flatMap(
  ([name, { get }]) => (get ? [name as keyof ToolDisplay] : []),
);
const view = (display: ToolDisplay) => Object.fromEntries(getters.map((name) => [name, display[name]]));

describe('a call that was never made has failed, and says how', () => {
  it.each([
    [
      'bash',
      { error: 'The user rejected permission to use this specific tool call.' },
      'Run not allowed: ls',
    ],
    [
      'bash',
      { error: 'The user has specified a rule which prevents you from using this' },
      'Run not allowed: ls',
    ],
    ['bash', { error: 'Tool execution aborted' }, 'Run failed: ls'],
    ['question', { error: 'The user dismissed this question' }, 'Question not answered'],
    ['weather_now', { error: 'no' }, 'Weather now failed'],
  ])('%s: %j', (tool, state, past) => {
    const display = show(tool, { status: 'error', input: { command: 'ls' }, ...state });
    expect([display.isError, display.pastTenseTitle]).toEqual([true, past]);
  });

  it.each([
    ['bash', 'Run not available'],
    ['bsah', 'Bsah not available'],
  ])(
    'one of a tool that the agent does not have, which upstream completes as `invalid`: %s',
    (tool, past) => {
      const error = `Model tried to call unavailable tool '${tool}'. Available tools: edit.`;
      const state = {
        status: 'completed',
        title: 'Invalid Tool',
        output: 'are invalid',
        input: { tool, error },
      };
      const display = show('invalid', state);
      expect([display.status, display.error, display.pastTenseTitle]).toEqual(['error', error, past]);
      expect(display.bashCommand).toBeUndefined();
    },
  );
});

describe('every tool of OpenCode 1.18.33', () => {
  it.each([
    ['grep:error', 'Search: hello', 'Search failed: hello', 'search'],
    ['glob:error', 'Find files: **/*.md', 'Find files failed: **/*.md', 'search'],
    ['read:error', 'Read: nope.md', 'Read failed: nope.md', 'read'],
    ['read:completed', 'Read: report.md', 'Read report.md', 'read'],
    ['write:completed', 'Write: report.md', 'Wrote report.md', 'write'],
    ['write:error', 'Write', 'Write failed', 'write'],
    ['edit:completed', 'Edit: report.md', 'Edited report.md', 'edit'],
    ['apply_patch:completed', 'Patch: 2 files', 'Patched 2 files', 'edit'],
    ['bash:completed', 'Run: exit 3', 'Ran exit 3', 'shell'],
    ['todowrite:completed', 'Update todos', 'Updated todos', 'todo'],
    ['skill:error', 'Skill: demo', 'Skill failed: demo', 'skill'],
    ['webfetch:completed', 'Fetch: http://127.0.0.1:5100/page', 'Fetched http://127.0.0.1:5100/page', 'web'],
    ['task:completed', 'Task: Sub work', 'Delegated Sub work', 'task'],
  ])('%s reads "%s"', (sample, title, past, kind) => {
    const display = new ToolDisplay(samples[sample]);
    expect([display.title, display.pastTenseTitle, display.kind]).toEqual([title, past, kind]);
    expect(display.status).toBe(sample.split(':')[1]);
    expect(display.isFinished).toBe(true);
  });

  it('has a row for each sample and each tool of the recordings', () => {
    const recorded = recordings.flatMap(({ messages }) =>
      messages.flatMap(({ parts }) =>
        parts.flatMap((part) => (part.type === 'tool' ? [toolPart(part).tool] : [])),
      ),
    );
    const sampled = Object.keys(samples).map((key) => key.split(':')[0] ?? '');
    const unknown = [...sampled, ...recorded].filter((tool) => tool !== 'invalid' && !knownTool(tool));
    expect(unknown).toEqual([]);
  });

  it('looks the same from a raw part and from the part of a reply', () => {
    for (const sample of Object.values(samples)) {
      const stored = toolPart(sample as WirePart);
      expect(view(new ToolDisplay(stored))).toEqual(view(new ToolDisplay(sample)));
    }
  });
});

describe('the table', () => {
  const names =
    'read write edit multiedit apply_patch bash grep glob list ls webfetch websearch codesearch web_search_exa get_code_context_exa company_research_exa search_web fetch_url todowrite todoread task skill question';

  it.each(names.split(' '))('knows %s', (name) => {
    const { kind, gerund, icon, pastTenseTitle, title } = show(name);
    expect(kind).not.toBe('other');
    for (const word of [gerund, icon, pastTenseTitle, title]) expect(word).toMatch(/\S/);
  });

  it('never shows one word for two columns of a row', () => {
    for (const { label, gerund } of Object.values(toolTable)) expect(gerund).not.toBe(label);
  });

  it('an unknown tool gets its name in words, or what upstream calls it', () => {
    expect(show('get_weatherReport').title).toBe('Get weather report');
    expect(show('get_weather', { title: 'Weather in Rome' })).toMatchObject({
      title: 'Weather in Rome',
      pastTenseTitle: 'Ran Weather in Rome',
      gerund: 'Running',
      kind: 'other',
      provider: 'unknown',
    });
    expect(show('__proto__').title).toBe('Proto');
    expect(show('constructor').kind).toBe('other');
  });
});

describe('the name of an MCP server', () => {
  it.each([
    ['exa_web_search_exa', 'web_search_exa', 'exa'],
    ['exa_web_fetch_exa', 'web_fetch', 'exa'],
    ['brave_search_web', 'search_web', 'brave'],
    ['local-web-search_fetch_url', 'fetch_url', 'local-web-search'],
    ['tavily_anything', 'anything', 'tavily'],
    ['web_search_exa', 'web_search_exa', 'exa'],
    ['exa_', 'exa_', 'exa'],
    ['search_web', 'search_web', 'unknown'],
    ['bash', 'bash', 'opencode-builtin'],
  ])('%s is %s of %s', (tool, canonicalTool, provider) => {
    expect(show(tool)).toMatchObject({ tool, canonicalTool, provider });
  });

  it('is configurable', () => {
    const mcpServers = ['acme'];
    expect(show('acme_fetch_url', {}, { mcpServers })).toMatchObject({
      canonicalTool: 'fetch_url',
      provider: 'acme',
    });
    expect(show('exa_web_fetch_exa', {}, { mcpServers })).toMatchObject({
      canonicalTool: 'exa_web_fetch_exa',
    });
  });
});

describe('what a call is about', () => {
  it.each([
    ['read', { filePath: '/box/a.ts' }, '/box/a.ts'],
    ['bash', { command: 'ls\nrm x' }, 'ls\nrm x'],
    ['grep', { pattern: 'x+' }, 'x+'],
    ['webfetch', { url: 'https://example.org' }, 'https://example.org'],
    ['web_search_exa', { query: 'cats' }, 'cats'],
    ['task', { description: 'Do it', prompt: 'long' }, 'Do it'],
    ['skill', { name: 'pdf' }, 'pdf'],
    ['question', { questions: [{ question: 'Which?', header: 'H' }] }, 'Which?'],
    ['apply_patch', { patchText: '*** Begin Patch\n*** Update File: src/a.ts\n@@' }, 'src/a.ts'],
    ['read', { filePath: '' }, undefined],
    ['todowrite', { todos: [] }, undefined],
  ])('%s %j', (tool, input, target) => {
    expect(show(tool, { input }).target).toBe(target);
  });

  it('is cut to one short line in titles', () => {
    expect(show('bash', { input: { command: 'first\nsecond' } }).title).toBe('Run: first');
    expect(show('bash', { input: { command: 'x'.repeat(500) } }).title.length).toBeLessThan(100);
  });
});

describe('details', () => {
  it('of an edit are its diff', () => {
    const { diff } = new ToolDisplay(samples['edit:completed']);
    expect(diff).toMatchObject({
      additions: 1,
      deletions: 1,
      files: [{ file: expect.stringContaining('report.md') }],
    });
    expect(diff?.patch).toContain('+line 2 edited');
  });

  it('of a patch are the diffs of its files', () => {
    const { diff } = new ToolDisplay(samples['apply_patch:completed']);
    expect(diff).toMatchObject({ additions: 2, deletions: 1 });
    expect(diff?.files.map(({ file }) => file)).toEqual(['added.txt', 'report.md']);
  });

  it('of an edit under way are what goes and what comes', () => {
    const input = { filePath: '/box/a.ts', oldString: 'one\ntwo', newString: 'three' };
    expect(show('edit', { status: 'running', input }).diff).toEqual({
      patch: '-one\n-two\n+three',
      additions: 1,
      deletions: 2,
      files: [{ file: '/box/a.ts', patch: '-one\n-two\n+three', additions: 1, deletions: 2 }],
    });
    const edits = [
      { oldString: 'a', newString: 'b' },
      { oldString: 'c', newString: '' },
    ];
    expect(show('multiedit', { input: { filePath: 'x', edits } }).diff).toMatchObject({
      additions: 1,
      deletions: 2,
    });
  });

  it('of a shell call are command, output so far, and description', () => {
    const running = show('bash', {
      status: 'running',
      input: { command: 'make', description: 'Build' },
      metadata: { output: 'cc a.c' },
    });
    expect(running).toMatchObject({
      bashCommand: 'make',
      bashOutput: 'cc a.c',
      bashDescription: 'Build',
      isRunning: true,
    });
    expect(show('read', { output: 'x' }).bashOutput).toBeUndefined();
  });

  it('of a file are content, language and preview', () => {
    expect(new ToolDisplay(samples['write:completed'])).toMatchObject({
      fileContent: '# hello\nline two\n',
      fileLang: 'markdown',
    });
    expect(new ToolDisplay(samples['read:completed'])).toMatchObject({
      fileContent: '# hello\nline two',
      readPreview: '# hello\nline two',
    });
    const long = Array.from({ length: 50 }, (_, at) => `line ${at}`).join('\n');
    expect(show('read', { metadata: { preview: long } }).readPreview?.split('\n')).toHaveLength(20);
    for (const [path, lang] of [
      ['a.TS', 'typescript'],
      ['Dockerfile', 'dockerfile'],
      ['x.unknown', 'plaintext'],
      ['noext', 'plaintext'],
    ])
      expect(show('read', { input: { filePath: `/box/${path}` } }).fileLang).toBe(lang);
  });

  it('of todos have one shape and a useful order', () => {
    const todos = [
      { content: 'done', status: 'completed' },
      { content: 'later', status: 'pending' },
      { content: 'now', status: 'in-progress' },
    ];
    expect(
      show('todowrite', { input: { todos } }).todos.map(({ content, status }) => `${content} ${status}`),
    ).toEqual(['now in_progress', 'later pending', 'done completed']);
    const odd = [null, 'later', { status: 'pending' }, { content: 'odd', status: 7, priority: 1 }];
    expect(show('todowrite', { input: { todos: odd } }).todos).toEqual([
      { content: 'odd', status: 'pending' },
    ]);
    expect(show('todoread', { metadata: { todos } }).todos).toHaveLength(3);
    expect(show('bash', { input: { todos } }).todos).toEqual([]);
  });

  it('of a search are its matches', () => {
    expect(show('grep', { metadata: { matches: 7 } }).matchCount).toBe(7);
    expect(show('glob', { metadata: { count: 0 } }).matchCount).toBe(0);
    expect(show('bash', { metadata: { matches: 7 } }).matchCount).toBeUndefined();
  });
});

describe('anything else', () => {
  it.each([[null], [undefined], [''], [7], [[]], [{}], [{ type: 'text', text: 'x' }], [{ type: 'tool' }]])(
    '%j is shown as an unknown tool',
    (value) => {
      expect(new ToolDisplay(value)).toMatchObject({
        kind: 'other',
        status: 'pending',
        title: expect.any(String),
      });
    },
  );

  it('throws from no getter, whatever it is given', () => {
    const garbage = fc.anything({
      withNullPrototype: true,
      withMap: true,
      withSet: true,
      withDate: true,
      withBigInt: true,
    });
    const fields = fc.dictionary(
      fc.constantFrom(
        'filePath',
        'command',
        'todos',
        'questions',
        'edits',
        'files',
        'filediff',
        'diff',
        'display',
        'patchText',
        'matches',
        'output',
      ),
      garbage,
    );
    const state = fc.record({
      status: garbage,
      input: fields,
      metadata: fields,
      output: garbage,
      title: garbage,
      error: garbage,
    });
    const part = fc.record({
      type: fc.constant('tool'),
      tool: fc.oneof(fc.constantFrom(...Object.keys(toolTable), 'exa_', 'toString'), garbage),
      state: fc.oneof(state, garbage),
    });
    fc.assert(
      fc.property(fc.oneof(garbage, part), (value) => {
        view(new ToolDisplay(value));
      }),
      { numRuns: 2_000 },
    );
  });
});
