import { TurnsError } from './turns-error.ts';

/** Facts that every upstream error carries. `path` is the route without query or credentials. */
export interface UpstreamFacts {
  readonly method: string;
  readonly path: string;
  readonly status?: number;
  readonly body?: string;
}

abstract class UpstreamError extends TurnsError {
  readonly facts: UpstreamFacts;
  constructor(problem: string, facts: UpstreamFacts, options?: { cause?: unknown }) {
    super(`OpenCode ${facts.method} ${facts.path}: ${problem}`, options);
    this.facts = facts;
  }
}

/** The server could not be reached (refused, reset, unknown host). The request may or may not have been accepted. */
export class ConnectionError extends UpstreamError {
  readonly code = 'upstream_connection';
  readonly disposition = 'retry';
}

/** The server did not answer within the call's time limit. The request may have been accepted. */
export class TimeoutError extends UpstreamError {
  readonly code = 'upstream_timeout';
  readonly disposition = 'retry';
}

/** 404 on a session: it was deleted, or this server never had it. */
export class SessionNotFoundError extends UpstreamError {
  readonly code = 'session_not_found';
  readonly disposition = 'retry';
}

/** 4xx other than 401 and a session's 404: the request itself is wrong and will stay wrong. */
export class BadRequestError extends UpstreamError {
  readonly code = 'upstream_bad_request';
  readonly disposition = 'fail';
}

/** 5xx, or a body that is not what the route promises (the server answers unknown routes with 200 and HTML). */
export class ServerError extends UpstreamError {
  readonly code = 'upstream_server';
  readonly disposition = 'retry';
}

/** 401: the password or user name is wrong. */
export class AuthenticationError extends UpstreamError {
  readonly code = 'upstream_authentication';
  readonly disposition = 'fail';
}

/** True when a request may have reached the server although it failed: never send a POST again after this. */
export function isAmbiguous(error: unknown): boolean {
  return error instanceof ConnectionError || error instanceof TimeoutError || error instanceof ServerError;
}
