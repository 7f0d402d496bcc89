/**
 * Shows the tool calls of a turn as lines of text. A web page does the same with its own markup: the view model
 * knows no UI. Run it: `npx tsx examples/rendering-tools.ts`.
 */
import { type Part, ToolDisplay } from '../src/view.ts';

const marks = { pending: '·', running: '…', completed: '✓', error: '✗' } as const;

function render(part: Part): string {
  if (part.type !== 'tool') return part.text;
  const tool = new ToolDisplay(part, { mcpServers: ['exa', 'acme'] });
  const title = tool.isFinished ? tool.pastTenseTitle : tool.title;
  return [`${marks[tool.status]} ${title}`, ...details(tool).map((line) => `    ${line}`)].join('\n');
}

function details(tool: ToolDisplay): string[] {
  if (tool.error !== undefined) return [tool.error];
  if (tool.diff) return [`+${tool.diff.additions} -${tool.diff.deletions}`, ...tool.diff.patch.split('\n')];
  if (tool.todos.length > 0) return tool.todos.map(({ status, content }) => `[${status}] ${content}`);
  if (tool.bashOutput !== undefined) return tool.bashOutput.split('\n');
  if (tool.fileContent !== undefined) return [`${tool.fileLang}, ${tool.fileContent.length} characters`];
  if (tool.matchCount !== undefined) return [`${tool.matchCount} found`];
  return [];
}

/** What `turns.get(id)` and `turns.follow(id)` give: the parts of a stored message. */
const wire = { source: 'wire', type: 'tool', messageId: 'msg_1', callId: 'call_1', metadata: {} } as const;
const parts: Part[] = [
  {
    ...wire,
    id: 'prt_1',
    tool: 'grep',
    status: 'completed',
    input: { pattern: 'TODO' },
    metadata: { matches: 3 },
  },
  {
    ...wire,
    id: 'prt_2',
    tool: 'edit',
    status: 'running',
    input: { filePath: '/srv/box/notes.md', oldString: 'draft', newString: 'final' },
  },
  {
    ...wire,
    id: 'prt_3',
    tool: 'write',
    status: 'completed',
    input: { filePath: '/srv/box/report.ts', content: 'export {};\n' },
  },
  {
    ...wire,
    id: 'prt_4',
    tool: 'bash',
    status: 'error',
    input: { command: 'make' },
    error: 'make: not found',
  },
  {
    ...wire,
    id: 'prt_5',
    tool: 'todowrite',
    status: 'completed',
    input: {
      todos: [
        { content: 'Write', status: 'completed' },
        { content: 'Check', status: 'in-progress' },
      ],
    },
  },
  { ...wire, id: 'prt_6', tool: 'exa_web_search_exa', status: 'completed', input: { query: 'opencode' } },
  { ...wire, id: 'prt_7', tool: 'acme_book_meetingRoom', status: 'running', input: {} },
  { id: 'prt_8', messageId: 'msg_1', source: 'wire', type: 'text', text: 'All done.' },
];

for (const part of parts) console.log(render(part));
