import '../support/fuzz-seed.ts';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { boundedPart } from '../../src/bounds/bounded-part.ts';
import { fittedParts, fittedText } from '../../src/bounds/bounded-reply.ts';
import { fittedRequest } from '../../src/bounds/bounded-request.ts';
import {
  byteBudget,
  maxRequestBytes,
  maxTextPartBytes,
  maxToolPartBytes,
} from '../../src/bounds/byte-budget.ts';
import { cutText, jsonBytes } from '../../src/bounds/cut-text.ts';
import type { Part, ToolPart } from '../../src/reply/part.ts';

const MiB = 1024 * 1024;

const bash = (at: number, output: string, more: Partial<ToolPart> = {}): ToolPart => ({
  id: `prt_${at}`,
  messageId: 'msg_1',
  source: 'wire',
  type: 'tool',
  tool: 'bash',
  callId: `call_${at}`,
  status: 'completed',
  title: `print ${at}`,
  input: { command: `print ${at}` },
  metadata: { output, exit: 0 },
  output,
  ...more,
});

const text = (at: number, value: string): Part => ({
  id: `prt_${at}`,
  messageId: 'msg_1',
  source: 'wire',
  type: 'text',
  text: value,
});

const list = (count: number, make: (at: number) => Part) =>
  Array.from({ length: count }, (_, at) => make(at));

it('what is stored of a turn is far below what MongoDB allows a document', () => {
  const sum = Object.values(byteBudget).reduce((a, b) => a + b);
  expect(sum).toBeLessThan(12 * MiB);
});

describe('a text that is cut', () => {
  it('says how many bytes are left out, also when it is cut again', () => {
    const whole = 'é'.repeat(1_000);
    const once = cutText(whole, 500);
    const kept = (cut: string) => Buffer.byteLength(cut.slice(0, cut.lastIndexOf('\n')));
    const left = (cut: string) => Number(/\[(\d+) bytes left out\]$/.exec(cut)?.[1]);
    expect(kept(once) + left(once)).toBe(2_000);
    const twice = cutText(once, 200);
    expect(kept(twice) + left(twice)).toBe(2_000);
    expect(cutText(twice, 200)).toBe(twice);
  });

  it('fits, whatever it holds, and begins as the whole one', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 400 }),
        fc.integer({ min: 64, max: 600 }),
        (whole, max) => {
          const cut = cutText(whole, max);
          expect(jsonBytes(cut)).toBeLessThanOrEqual(Math.max(max, 64));
          if (cut !== whole) expect(whole.startsWith(cut.slice(0, cut.lastIndexOf('\n')))).toBe(true);
        },
      ),
    );
  });
});

describe('a part that is bounded', () => {
  it.each([
    ['a 20 MB output', bash(1, 'x'.repeat(20 * MiB))],
    ['control characters', bash(1, '\u0001'.repeat(MiB))],
    [
      'wide metadata',
      bash(1, '', {
        metadata: Object.fromEntries(
          list(5_000, (at) => bash(at, '')).map((part) => [part.id, 'y'.repeat(1_000)]),
        ),
      }),
    ],
    ['a long key', bash(1, '', { input: { ['k'.repeat(MiB)]: 1 } })],
    ['a long title and name', bash(1, '', { title: 't'.repeat(MiB), tool: 'n'.repeat(MiB) })],
  ])('fits: %s', (_name, part) => {
    expect(jsonBytes(boundedPart(part))).toBeLessThanOrEqual(maxToolPartBytes);
  });

  it('fits as a text', () => {
    for (const value of ['x'.repeat(9 * MiB), '\u0001'.repeat(MiB), '\ud83d\ude00'.repeat(MiB)])
      expect(jsonBytes(boundedPart(text(1, value)))).toBeLessThanOrEqual(maxTextPartBytes);
  });

  it('is as it was when it is small', () => {
    expect(boundedPart(bash(1, 'small'))).toEqual(bash(1, 'small'));
  });
});

describe('the parts of a turn', () => {
  it.each([
    ['320 outputs of 45 KB', list(320, (at) => bash(at, 'x'.repeat(45_000)))],
    ['600 outputs of 31 KB', list(600, (at) => bash(at, 'x'.repeat(31_000)))],
    ['nine texts of 1 MB', list(9, (at) => text(at, 'x'.repeat(1_000_000)))],
    ['one big output', [bash(0, 'x'.repeat(20 * MiB))]],
    ['20,000 calls', list(20_000, (at) => bash(at, 'short'))],
  ])('fit together: %s', (_name, parts) => {
    const fitted = fittedParts(parts);
    expect(jsonBytes(fitted)).toBeLessThanOrEqual(byteBudget.parts);
    // The newest is as whole as a part can be.
    expect(fitted.at(-1)).toEqual(boundedPart(parts.at(-1) as Part));
    // Fitting again what was fitted changes nothing.
    expect(fittedParts(fitted.filter(({ id }) => id !== 'parts-left-out'))).toEqual(
      fitted.filter(({ id }) => id !== 'parts-left-out'),
    );
    const rest = fitted.filter(({ id }) => id !== 'parts-left-out');
    expect(rest.map(({ id }) => id)).toEqual(parts.slice(parts.length - rest.length).map(({ id }) => id));
    if (rest.length < parts.length)
      expect(fitted[0]).toMatchObject({ title: `${parts.length - rest.length} earlier parts left out` });
  });

  it('cut the largest of the older ones and leave the small ones whole', () => {
    const parts = list(400, (at) => bash(at, at % 2 === 0 ? 'x'.repeat(45_000) : 'short'));
    const fitted = fittedParts(parts) as readonly ToolPart[];
    expect(fitted).toHaveLength(400);
    expect(fitted[1]).toEqual(parts[1]);
    expect(fitted[0]?.output).toMatch(/^x+\n\[\d+ bytes left out\]$/);
  });
});

describe('the text of a turn', () => {
  it('keeps the newest whole and says what is left out of the oldest', () => {
    const parts = list(9, (at) => text(at, String(at).repeat(1_000_000)));
    const fitted = fittedText(parts, 'text', byteBudget.text);
    expect(jsonBytes(fitted)).toBeLessThanOrEqual(byteBudget.text);
    expect(fitted.endsWith(`\n\n${'8'.repeat(1_000_000)}`)).toBe(true);
    const shown = fitted.replace(/(\d)\1{9,}/g, '$1…');
    expect(shown).toMatch(/^\[6000000 bytes left out\]\n\n6…\n\[\d+ bytes left out\]\n\n7…\n\n8…$/);
  });

  it('is the reply joined when it fits', () => {
    expect(fittedText([text(1, 'a'), text(2, ''), text(3, 'b')], 'text', 1_000)).toBe('a\n\nb');
  });
});

describe('what is asked of a person', () => {
  it('fits, and all of a turn fit', () => {
    const asked = {
      id: 'per_1',
      sessionID: 'ses_1',
      permission: 'edit',
      patterns: list(9_000, (at) => text(at, '')).map(({ id }) => id.repeat(50)),
      metadata: { diff: 'x'.repeat(MiB), files: [{ before: 'y'.repeat(MiB) }] },
    };
    const fitted = fittedRequest(asked);
    expect(jsonBytes(fitted)).toBeLessThanOrEqual(maxRequestBytes);
    expect(fitted).toMatchObject({ id: 'per_1', sessionID: 'ses_1', permission: 'edit' });
    expect(String((fitted.metadata as { diff: string }).diff)).toMatch(/bytes left out\]$/);
  });
});
