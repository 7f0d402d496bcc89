import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';
import { apiReport, reportFile } from '../../dev/api-report.mjs';

const report = readFileSync(reportFile, 'utf8');

it('etc/api.md tells the public types; after a change of them: npm run api', () => {
  expect(report.split('\n')).toEqual(apiReport().split('\n'));
});

it('the report reaches from each subpath to what its types are made of, and to nothing within', () => {
  const sections = report.match(/^## .+$/gm);
  expect(sections).toEqual(
    expect.arrayContaining(['## opencode-turns', '## opencode-turns/view', '## src/turn/stored-turn.ts']),
  );
  expect(report).toContain(
    'export declare function connect<R = ReadyConversation>(options: TurnsOptions<R>): Promise<Turns<R>>;',
  );
  expect(report).toMatch(
    /export declare class InvalidConfigError extends TurnsError \{[^}]*code = "invalid_config"/,
  );
  expect(report).not.toMatch(/ClientDeps|TurnStream\b|Closers/);
});
