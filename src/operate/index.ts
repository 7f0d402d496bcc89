/**
 * Bull Board behind basic auth: `opencode-turns/board`. Needs `@bull-board/api`, `@bull-board/hono`, `@bull-board/ui`, `hono`
 * and `@hono/node-server`.
 *
 * @module
 */
export { type BoardOptions, createBoard } from './board.ts';
