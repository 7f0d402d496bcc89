/**
 * For the HTTP side of a web app: `opencode-turns/web`. Needs no package.
 *
 * @module opencode-turns/web
 */
export { downloadHeaders } from '../artifacts/download-headers.ts';
export { type EventStreamOptions, eventStream, type TurnSource } from './event-stream.ts';
