import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';
import { docsFile, withTables } from '../../dev/settings-table.ts';

const page = readFileSync(docsFile, 'utf8');

it('docs/configuration.md tells each setting with its default and bounds; after a change of them: npm run settings', () => {
  expect(page.split('\n')).toEqual(withTables(page).split('\n'));
});

it('each setting of the tables has its meaning, and each number its bounds', () => {
  const rows = page.split('\n').filter((line) => /^\| `/.test(line) && line.split('|').length > 6);
  expect(rows.length).toBeGreaterThanOrEqual(45);
  for (const row of rows) {
    const [bounds = '', meaning = ''] = row
      .split('|')
      .slice(-3)
      .map((cell) => cell.trim());
    expect(meaning).not.toBe('');
    if (/\| (ms|whole number|number) \|/.test(row)) expect(bounds).toMatch(/^[\d,]+ – [\d,]+/);
  }
});
