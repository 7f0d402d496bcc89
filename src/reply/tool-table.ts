/** What a tool call is about. `other`: a tool that nobody here knows. */
export type ToolKind =
  | 'read'
  | 'write'
  | 'edit'
  | 'shell'
  | 'search'
  | 'list'
  | 'web'
  | 'todo'
  | 'task'
  | 'skill'
  | 'question'
  | 'other';

export interface ToolRow {
  readonly kind: ToolKind;
  /** Titles begin with it: "Read: a.ts". */
  readonly label: string;
  /** While it runs: "Reading". */
  readonly gerund: string;
  /** Afterwards: "Edited a.ts". */
  readonly past: string;
  /** A name of the Lucide icon set. */
  readonly icon: string;
  /** Input fields that say what it is about; the first that is there counts. */
  readonly target: readonly string[];
  /** The target is a path: titles show its last component. */
  readonly path?: true;
  /** A tool of OpenCode itself. */
  readonly builtin?: true;
}

const file = { target: ['filePath', 'path'], path: true, builtin: true } as const;
const edited = { ...file, kind: 'edit', label: 'Edit', gerund: 'Editing', past: 'Edited' } as const;
const listed = {
  kind: 'list',
  label: 'List',
  gerund: 'Listing',
  past: 'Listed',
  icon: 'folder-open',
  target: ['path'],
  path: true,
  builtin: true,
} as const;
const searchedWeb = {
  kind: 'web',
  label: 'Web search',
  gerund: 'Searching the web for',
  past: 'Searched the web for',
  icon: 'globe',
  target: ['query', 'search_query', 'q'],
} as const;
const fetched = {
  kind: 'web',
  label: 'Fetch',
  gerund: 'Fetching',
  past: 'Fetched',
  icon: 'download',
  target: ['url', 'uri'],
} as const;
const searchedCode = {
  ...searchedWeb,
  label: 'Code search',
  gerund: 'Searching code for',
  past: 'Searched code for',
  icon: 'file-code',
} as const;
const todo = { kind: 'todo', icon: 'list-checks', target: [], builtin: true } as const;

/** The only place to add a tool: by its canonical name. */
export const toolTable: Readonly<Record<string, ToolRow>> = {
  read: { ...file, kind: 'read', label: 'Read', gerund: 'Reading', past: 'Read', icon: 'file-text' },
  write: { ...file, kind: 'write', label: 'Write', gerund: 'Writing', past: 'Wrote', icon: 'file-plus' },
  edit: { ...edited, icon: 'file-pen' },
  multiedit: { ...edited, icon: 'file-pen' },
  apply_patch: { ...edited, label: 'Patch', gerund: 'Patching', past: 'Patched', icon: 'file-diff' },
  bash: {
    kind: 'shell',
    label: 'Run',
    gerund: 'Running',
    past: 'Ran',
    icon: 'terminal',
    target: ['command'],
    builtin: true,
  },
  grep: {
    kind: 'search',
    label: 'Search',
    gerund: 'Searching for',
    past: 'Searched for',
    icon: 'search',
    target: ['pattern'],
    builtin: true,
  },
  glob: {
    kind: 'search',
    label: 'Find files',
    gerund: 'Finding files',
    past: 'Found files',
    icon: 'folder-search',
    target: ['pattern'],
    builtin: true,
  },
  list: listed,
  ls: listed,
  webfetch: { ...fetched, builtin: true },
  web_fetch: fetched,
  fetch_url: fetched,
  websearch: { ...searchedWeb, builtin: true },
  web_search: searchedWeb,
  web_search_exa: searchedWeb,
  search_web: searchedWeb,
  codesearch: { ...searchedCode, builtin: true },
  get_code_context_exa: searchedCode,
  company_research_exa: {
    ...searchedWeb,
    label: 'Company research',
    gerund: 'Researching',
    past: 'Researched',
    icon: 'building',
    target: ['companyName', 'company_name', 'query'],
  },
  todowrite: { ...todo, label: 'Update todos', gerund: 'Updating todos', past: 'Updated todos' },
  todoread: { ...todo, label: 'Read todos', gerund: 'Reading todos', past: 'Read todos' },
  task: {
    kind: 'task',
    label: 'Task',
    gerund: 'Delegating',
    past: 'Delegated',
    icon: 'bot',
    target: ['description', 'prompt'],
    builtin: true,
  },
  skill: {
    kind: 'skill',
    label: 'Skill',
    gerund: 'Loading skill',
    past: 'Loaded skill',
    icon: 'book-open',
    target: ['name'],
    builtin: true,
  },
  question: {
    kind: 'question',
    label: 'Question',
    gerund: 'Asking',
    past: 'Asked',
    icon: 'message-circle',
    target: ['question'],
    builtin: true,
  },
};

export const unknownTool: ToolRow = {
  kind: 'other',
  label: 'Tool',
  gerund: 'Running',
  past: 'Ran',
  icon: 'wrench',
  target: [],
};

export const knownTool = (name: string): ToolRow | undefined =>
  Object.hasOwn(toolTable, name) ? toolTable[name] : undefined;
