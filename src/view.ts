/**
 * For browsers and for whoever shows a turn: `opencode-turns/view`. Pure, without Node and without any package.
 *
 * ```ts
 * let view = emptyView;
 * for await (const entry of entries) view = applyEntry(view, entry);
 * ```
 *
 * @module opencode-turns/view
 */
export type { Part, ReasoningPart, TextPart, ToolPart, ToolStatus, Usage } from './reply/part.ts';
export type { Todo } from './reply/todo.ts';
export type { FileDiff, ToolDiff } from './reply/tool-diff.ts';
export { ToolDisplay, type ToolDisplayOptions } from './reply/tool-display.ts';
export type { ToolKind } from './reply/tool-table.ts';
export { applyEntry, emptyView, type TurnEnd, type TurnEntry, type TurnView } from './turn/entry.ts';
