import '../support/fuzz-seed.ts';
import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isBasename, isDeceiving, numbered, quoted, sandboxFilename } from '../../src/artifacts/filenames.ts';
import { UnsafeFileError } from '../../src/errors.ts';

/** Strings of what names are attacked with, and of anything at all. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.string({
    unit: fc.constantFrom(
      '.',
      '/',
      '\\',
      '-',
      '_',
      ' ',
      '\0',
      '\n',
      '\u202e',
      '\ufe0f',
      '\u0301',
      '報',
      'a',
      '．',
      'ſ',
    ),
    maxLength: 300,
  }),
  fc.mixedCase(fc.constantFrom('agents.md', 'opencode.json', 'nul.txt', 'claude.md')),
);

it('any name becomes one that is safe, or is refused for leading outside', () => {
  fc.assert(
    fc.property(hostile, (given) => {
      let name: string;
      try {
        name = sandboxFilename(given);
      } catch (error) {
        expect(error).toBeInstanceOf(UnsafeFileError);
        expect(given.startsWith('/') || given.split(/[/\\]/).includes('..')).toBe(true);
        return;
      }
      expect(name).toMatch(/^[\p{L}\p{M}\p{N}_][\p{L}\p{M}\p{N}._-]*$/u);
      expect(isBasename(name) && !isDeceiving(name)).toBe(true);
      expect(Buffer.byteLength(numbered(name, 1_000))).toBeLessThanOrEqual(255);
      expect(name).not.toMatch(/^(opencode\.json|agents\.md|claude\.md|nul\.)/i);
      expect(name.normalize('NFC')).toBe(name);
      expect(sandboxFilename(name)).toBe(name);
    }),
    { numRuns: 2_000 },
  );
});

it('any name is shown in one line that says what it holds', () => {
  fc.assert(
    fc.property(hostile, (given) => {
      const shown = quoted(given);
      expect(shown).toMatch(/^"([^"\\]|\\.)*"$/u);
      expect(isDeceiving(shown)).toBe(false);
    }),
    { numRuns: 1_000 },
  );
});
