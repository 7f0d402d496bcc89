/**
 * Bull Board behind basic auth: `opencode-turns/board`. Needs `@bull-board/api`, `@bull-board/hono`, `@bull-board/ui`, `hono`
 * and `@hono/node-server`.
 *
 * @module opencode-turns/board
 */
export { type BoardOptions, createBoard } from './board.ts';
export type { GuessBounds } from './guess-limit.ts';
