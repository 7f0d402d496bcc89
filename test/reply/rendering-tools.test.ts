import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it, jest } from '@jest/globals';
import { ToolDisplay } from '../../src/reply/tool-display.ts';
import { toolTable } from '../../src/reply/tool-table.ts';

const page = new URL('../../docs/rendering-tools.md', import.meta.url);
const head = '| tool | kind | title | past tense |\n|---|---|---|---|\n';

/** The table of the page, as the code has it. */
function rows(): string {
  return Object.entries(toolTable)
    .map(([tool, { target, path }]) => {
      const value = path ? 'dir/a.ts' : 'x';
      const input = {
        ...Object.fromEntries(target.map((field) => [field, value])),
        questions: [{ question: 'x' }],
      };
      const patch = { patchText: '*** Update File: dir/a.ts' };
      const display = new ToolDisplay({ type: 'tool', tool, state: { input: { ...input, ...patch } } });
      return `| \`${tool}\` | ${display.kind} | ${display.title} | ${display.pastTenseTitle} |`;
    })
    .join('\n');
}

describe('the page about rendering tools', () => {
  it('lists the tools that the table has (UPDATE_GOLDEN=1 writes them)', () => {
    const text = readFileSync(page, 'utf8');
    const start = text.indexOf(head) + head.length;
    const written = text.slice(start, text.indexOf('\n\n', start));
    if (process.env.UPDATE_GOLDEN === '1')
      writeFileSync(
        page,
        text.replace(written, () => rows()),
      );
    else expect(written).toBe(rows());
  });

  it('shows what its example prints', async () => {
    const lines: string[] = [];
    const log = jest.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
    await import('../../examples/rendering-tools.ts');
    log.mockRestore();
    expect(readFileSync(page, 'utf8')).toContain(`\`\`\`text\n${lines.join('\n')}\n\`\`\``);
  });
});
