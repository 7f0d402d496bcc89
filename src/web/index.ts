/**
 * For the HTTP side of a web app: `opencode-turns/web`. Needs no package.
 *
 * @module
 */
export { downloadHeaders } from '../artifacts/download-headers.ts';
export { type EventStreamOptions, eventStream } from './event-stream.ts';
