import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from '@jest/globals';
import { demoOptions, usage } from '../../dev/demo/options.ts';
import { Screen } from '../../dev/demo/screen.ts';
import { type CollectedSpan, renderSpanTree } from '../../dev/span-collector.ts';
import { InvalidInputError } from '../../src/errors.ts';
import type { TurnEntry } from '../../src/index.ts';
import type { Part, ToolPart } from '../../src/reply/part.ts';

async function shown(draw: (screen: Screen) => void, isTTY = false): Promise<string> {
  const out = Object.assign(new PassThrough(), { isTTY });
  draw(new Screen(out));
  out.end();
  return text(out);
}

const showing = (...entries: unknown[]) =>
  shown((screen) => {
    for (const entry of entries) screen.show(entry as TurnEntry);
    screen.line('end');
  });

const part = (id: string, type: 'text' | 'reasoning', content: string) => ({
  type: 'part',
  part: { id, type, text: content } as Part,
});
const grown = (partId: string, delta: string) => ({ type: 'text', partId, offset: 0, delta });
const tool = (status: string, more: Partial<ToolPart> = {}) => ({
  type: 'part',
  part: {
    id: 'tool',
    type: 'tool',
    tool: 'write',
    status,
    input: { filePath: 'haiku.md', content: 'x' },
    ...more,
  } as ToolPart,
});

describe('the screen', () => {
  it('shows a text as it grows, on one line until something else comes', async () => {
    expect(
      await showing(part('a', 'text', 'One'), grown('a', ' two'), grown('a', ' three'), grown('b', 'Other')),
    ).toBe('  One two three\n  Other\nend\n');
  });

  it('keeps the lines of a text below each other, and shows no empty one for an empty part', async () => {
    expect(await showing(part('a', 'text', ''), part('b', 'text', 'one\ntwo'))).toBe('  one\n  two\nend\n');
  });

  it('shows a tool by its title: once while it runs, once when it is done, or why it failed', async () => {
    const lines = await showing(
      tool('pending'),
      tool('running'),
      tool('running'),
      tool('completed', { output: 'ok' } as Partial<ToolPart>),
    );
    expect(lines).toMatch(/^ {2}… Writing\n {2}✓ Wrote haiku\.md\nend\n$/);
    expect(await showing(tool('error', { error: 'no space' } as Partial<ToolPart>))).toMatch(
      /✗ .*no space\nend/,
    );
  });

  it('shows phases, retries, prompts and files in words', async () => {
    expect(
      await showing(
        { type: 'progress', progress: 'queued' },
        { type: 'progress', progress: 'prompted' },
        { type: 'retry', attempt: 2, message: 'overloaded' },
        { type: 'request', request: { kind: 'question', requestId: 'que_1', state: 'pending' } },
        { type: 'artifact', artifact: { filename: 'haiku.md', bytes: 72 } },
      ),
    ).toBe(
      [
        '▸ queued in BullMQ',
        '▸ prompted on the OpenCode server',
        '  provider failed, upstream tries again (2): overloaded',
        '  question que_1: pending',
        '  📎 haiku.md (72 bytes)',
        'end\n',
      ].join('\n'),
    );
  });

  it('paints only a terminal', async () => {
    const draw = (screen: Screen) => screen.line('done', 'green');
    expect(await shown(draw)).toBe('done\n');
    expect(await shown(draw, true)).toBe('\u001b[32mdone\u001b[39m\n');
  });
});

describe('the options', () => {
  it('have a default for all but the model', () => {
    expect(demoOptions([])).toEqual({
      json: false,
      keep: false,
      help: false,
      model: undefined,
      text: expect.any(String),
    });
    expect(demoOptions(['--json', '--keep', '--model', 'anthropic/claude/x', '--text', 'Hi'])).toEqual({
      json: true,
      keep: true,
      help: false,
      model: 'anthropic/claude/x',
      text: 'Hi',
    });
    for (const name of ['--json', '--keep', '--model', '--text', '--help']) expect(usage).toContain(name);
  });

  it.each([
    [['--model', 'gpt'], '--model'],
    [['--model', '/gpt'], '--model'],
    [['--model', 'open ai/gpt'], '--model'],
    [['--model'], 'arguments'],
    [['--text', ' '], '--text'],
    [['--jason'], 'arguments'],
    [['extra'], 'arguments'],
  ])('%j are refused by name', (args, field) => {
    expect(() => demoOptions(args)).toThrow(InvalidInputError);
    expect(() => demoOptions(args)).toThrow(new RegExp(`^${field}: `));
  });
});

describe('the span tree', () => {
  const span = (
    spanId: string,
    parentSpanId: string,
    name: string,
    start: number,
    end: number,
    failed = false,
  ) =>
    ({
      traceId: 't',
      spanId,
      parentSpanId,
      name,
      startNs: BigInt(start * 1e6),
      endNs: BigInt(end * 1e6),
      failed,
    }) satisfies CollectedSpan;

  it('indents children below parents in order of time, folds those that share a name, marks what failed', () => {
    const spans = [
      span('4', '1', 'save', 30, 31.5, true),
      span('3', '1', 'find', 20, 22),
      span('2', '1', 'find', 10, 11),
      span('5', '3', 'wire', 20, 21),
      span('1', 'elsewhere', 'turn', 0, 40),
    ];
    expect(renderSpanTree(spans)).toEqual([
      'turn  40.0 ms',
      '  find ×2  3.0 ms',
      '    wire  1.0 ms',
      '  save  1.5 ms  failed',
    ]);
  });

  it('goes no deeper than it is told', () => {
    const chain = Array.from({ length: 9 }, (_, at) => span(`${at}`, `${at - 1}`, `level ${at}`, at, 10));
    expect(renderSpanTree(chain, 2)).toHaveLength(3);
  });
});
