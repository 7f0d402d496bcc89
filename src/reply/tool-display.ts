import { languageOf } from './file-language.ts';
import type { ToolPart, ToolStatus } from './part.ts';
import { parseTodos, type Todo } from './todo.ts';
import { type ToolDiff, toolDiff } from './tool-diff.ts';
import { humanized, type ToolName, toolName } from './tool-name.ts';
import { isTerminal, toolPart } from './tool-part.ts';
import { knownTool, type ToolKind, type ToolRow, unknownTool } from './tool-table.ts';
import type { WirePart } from './wire.ts';

export interface ToolDisplayOptions {
  /** MCP servers whose names are taken off tool names. Default: exa, brave, serper, tavily, local-web-search. */
  readonly mcpServers?: readonly string[];
}

/** The longest target in a title, in UTF-16 units. */
const maxTitleTarget = 80;
const previewLines = 20;

/**
 * How a tool call is shown: a pure view model over a tool part, for any UI. Takes a part of a reply, a stored
 * one, or upstream's raw one; anything else is shown as an unknown tool. No getter throws. Texts are what the
 * model and its tools wrote: escape them.
 */
export class ToolDisplay {
  readonly #part: ToolPart;
  readonly #name: ToolName;
  readonly #row: ToolRow;

  constructor(part: unknown, { mcpServers }: ToolDisplayOptions = {}) {
    this.#part = anyToolPart(part);
    this.#name = toolName(this.#part.tool, mcpServers);
    this.#row = knownTool(this.#name.canonical) ?? unknownTool;
  }

  /** As upstream calls it. */
  get tool(): string {
    return this.#part.tool;
  }

  get canonicalTool(): string {
    return this.#name.canonical;
  }

  /** The MCP server's name, `opencode-builtin`, or `unknown`. */
  get provider(): string {
    return this.#name.provider;
  }

  get kind(): ToolKind {
    return this.#row.kind;
  }

  /** A name of the Lucide icon set. */
  get icon(): string {
    return this.#row.icon;
  }

  /** "Reading"; to be followed by the target. */
  get gerund(): string {
    return this.#row.gerund;
  }

  /** "Read: a.ts". Of an unknown tool: what upstream calls it, else its name in words. */
  get title(): string {
    if (!this.#isKnown) return this.#part.title || humanized(this.canonicalTool);
    const target = this.#shortTarget;
    return target === undefined ? this.#row.label : `${this.#row.label}: ${target}`;
  }

  /** "Edited a.ts"; of one that came to nothing "Edit failed: a.ts", or "not allowed", "not available", "not answered". */
  get pastTenseTitle(): string {
    if (this.isError) return this.#failedTitle;
    const target = this.#isKnown ? this.#shortTarget : this.title;
    return target === undefined ? this.#row.past : `${this.#row.past} ${target}`;
  }

  get status(): ToolStatus {
    return this.#part.status;
  }

  get isPending(): boolean {
    return this.status === 'pending';
  }

  get isRunning(): boolean {
    return this.status === 'running';
  }

  get isCompleted(): boolean {
    return this.status === 'completed';
  }

  get isError(): boolean {
    return this.status === 'error';
  }

  /** Completed or failed: it will not change any more. */
  get isFinished(): boolean {
    return isTerminal(this.#part);
  }

  /** At most 200 characters. */
  get error(): string | undefined {
    return this.#part.error;
  }

  /** File path, command, pattern, URL, query, description or skill name, by tool; whole and as written. */
  get target(): string | undefined {
    const { input } = this.#part;
    if (this.canonicalTool === 'apply_patch') return this.#patchedFiles;
    if (this.kind === 'question') return firstQuestion(input.questions);
    for (const field of this.#row.target) {
      const value = input[field];
      if (typeof value === 'string' && value !== '') return value;
    }
    return undefined;
  }

  /** What an edit changed, or is about to change. */
  get diff(): ToolDiff | undefined {
    return this.kind === 'edit' ? toolDiff(this.#part) : undefined;
  }

  /** In one shape, those in progress first and completed ones last; empty for other tools. */
  get todos(): readonly Todo[] {
    if (this.kind !== 'todo') return [];
    const { input, metadata } = this.#part;
    const todos = parseTodos(Array.isArray(input.todos) ? input.todos : metadata.todos);
    return todos.toSorted((a, b) => todoOrder.indexOf(a.status) - todoOrder.indexOf(b.status));
  }

  /** What was written, or what was read. */
  get fileContent(): string | undefined {
    if (this.kind === 'write') return text(this.#part.input.content);
    return this.kind === 'read' ? text(record(this.#part.metadata.display).text) : undefined;
  }

  /** A highlighter's name for the language of the file, by its extension; `plaintext` when unknown. */
  get fileLang(): string | undefined {
    const { target } = this;
    return this.#row.path && this.kind !== 'list' && target !== undefined ? languageOf(target) : undefined;
  }

  get bashCommand(): string | undefined {
    return this.kind === 'shell' ? text(this.#part.input.command) : undefined;
  }

  /** While it runs, the output so far. */
  get bashOutput(): string | undefined {
    return this.kind === 'shell' ? (this.#part.output ?? text(this.#part.metadata.output)) : undefined;
  }

  get bashDescription(): string | undefined {
    return this.kind === 'shell' ? text(this.#part.input.description) : undefined;
  }

  /** The first 20 lines of a file that was read. */
  get readPreview(): string | undefined {
    if (this.kind !== 'read') return undefined;
    const preview = text(this.#part.metadata.preview) ?? this.fileContent;
    return preview?.split('\n').slice(0, previewLines).join('\n');
  }

  /** Matches of a search, files of a glob. */
  get matchCount(): number | undefined {
    const { matches, count } = this.#part.metadata;
    const found = this.kind === 'search' || this.kind === 'list' ? (matches ?? count) : undefined;
    return typeof found === 'number' && Number.isFinite(found) ? found : undefined;
  }

  get #failedTitle(): string {
    const how = failures.find(([text]) => text.test(this.error ?? ''))?.[1] ?? 'failed';
    if (!this.#isKnown) return `${this.title} ${how}`;
    const target = this.#shortTarget;
    return target === undefined ? `${this.#row.label} ${how}` : `${this.#row.label} ${how}: ${target}`;
  }

  get #isKnown(): boolean {
    return this.#row !== unknownTool;
  }

  get #shortTarget(): string | undefined {
    const { target } = this;
    if (target === undefined) return undefined;
    const short = this.#row.path ? lastComponent(target) : (target.trim().split('\n')[0] ?? '');
    return short.length > maxTitleTarget ? `${short.slice(0, maxTitleTarget - 1)}…` : short;
  }

  get #patchedFiles(): string | undefined {
    const { input, metadata } = this.#part;
    const told = (Array.isArray(metadata.files) ? metadata.files : []).flatMap((file) => {
      const { relativePath, filePath } = record(file);
      return text(relativePath) ?? text(filePath) ?? [];
    });
    const patch = text(input.patchText) ?? '';
    const files = told.length > 0 ? told : Array.from(patch.matchAll(patchHeader), ([, path]) => path ?? '');
    return files.length > 1 ? `${files.length} files` : files[0];
  }
}

/** What upstream says of calls that were never made (1.18). */
const failures: readonly (readonly [RegExp, string])[] = [
  [/rejected permission|rule which prevents/i, 'not allowed'],
  [/unavailable tool/i, 'not available'],
  [/dismissed this question/i, 'not answered'],
];
const todoOrder: readonly Todo['status'][] = ['in_progress', 'pending', 'cancelled', 'completed'];
const patchHeader = /^\*\*\* (?:Add|Update|Delete) File: (.+)$/gm;

/** A reply's part is put into upstream's shape, so that one definition reads both. */
function anyToolPart(value: unknown): ToolPart {
  const part = record(value);
  if (part.type !== 'tool') return toolPart({ id: '', sessionID: '', messageID: '', type: 'tool' });
  const id = text(part.id) ?? '';
  const messageID = text(part.messageID) ?? text(part.messageId) ?? '';
  const callID = text(part.callID) ?? text(part.callId) ?? '';
  const state = typeof part.state === 'object' && part.state !== null ? part.state : part;
  const wire: WirePart = { id, sessionID: '', messageID, type: 'tool', callID, tool: part.tool, state };
  return toolPart(wire);
}

function firstQuestion(questions: unknown): string | undefined {
  const { question, header } = record(Array.isArray(questions) ? questions[0] : undefined);
  return text(question) ?? text(header);
}

function lastComponent(path: string): string {
  return path.split(/[\\/]/).findLast((component) => component !== '') ?? path;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
