import { TurnsError } from './turns-error.ts';

/** Facts that every upstream error carries. `path` is the route without query or credentials. */
export interface UpstreamFacts {
  readonly method: string;
  readonly path: string;
  readonly status?: number;
  /** The first 500 characters, control characters made visible. */
  readonly body?: string;
  /** What the server asks to wait before the same call, ms. */
  readonly retryAfterMs?: number;
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

/** OpenCode said twice, by two requests, that it has no such session: it was deleted, or this server never had it. */
export class SessionNotFoundError extends UpstreamError {
  readonly code = 'session_not_found';
  readonly disposition = 'retry';
}

/** A 4xx in OpenCode's own words: the request itself is wrong and will stay wrong. */
export class BadRequestError extends UpstreamError {
  readonly code = 'upstream_bad_request';
  readonly disposition = 'fail';
}

/** 5xx, or "later" (408, 425, 429), from OpenCode or whatever stands before it. The request may have been accepted. */
export class ServerError extends UpstreamError {
  readonly code = 'upstream_server';
  readonly disposition = 'retry';
}

/**
 * What came back is no answer of OpenCode's interface: a proxy's page, a route that the server does not know (it
 * answers those with 200 and HTML), a body that is not what the route promises. The request may have been accepted.
 */
export class ForeignAnswerError extends UpstreamError {
  readonly code = 'upstream_foreign_answer';
  readonly disposition = 'retry';
}

/** A redirect, which is never followed: it would send the user's words elsewhere. The request may have been accepted. */
export class RedirectError extends UpstreamError {
  readonly code = 'upstream_redirect';
  readonly disposition = 'fail';
}

/** More bytes than are believed: of a body, a header block, or an event. The connection was closed. */
export class AnswerTooLargeError extends UpstreamError {
  readonly code = 'upstream_answer_too_large';
  readonly disposition = 'fail';
}

/** 401: the password or user name is wrong. A proxy may say so, too, behind which the request was accepted. */
export class AuthenticationError extends UpstreamError {
  readonly code = 'upstream_authentication';
  readonly disposition = 'fail';
}

/** The server speaks another protocol than this library. Nothing but the questions for its version was sent. */
export class UnsupportedServerError extends TurnsError {
  readonly code = 'unsupported_server';
  readonly disposition = 'fail';
  readonly server: string;
  /** The version that was found. */
  readonly version: string;
  /** The versions that would do. */
  readonly supported: string;
  constructor(server: string, version: string, supported: string) {
    super(`the server at ${server} is OpenCode ${version}; this library speaks with OpenCode ${supported}`);
    this.server = server;
    this.version = version;
    this.supported = supported;
  }
}

/** The server was away, or too busy: the same call may succeed whenever it is back. */
const awayErrors = [ConnectionError, TimeoutError, ServerError];
/** Something answered that is not the server as it should be: that passes soon, or stays until somebody acts. */
const wrongAnswers = [ForeignAnswerError, RedirectError, AnswerTooLargeError, AuthenticationError];

/** True when a request may have reached the server although it failed: never send a POST again after this. */
export function isAmbiguous(error: unknown): boolean {
  return [...awayErrors, ...wrongAnswers].some((kind) => error instanceof kind);
}

/** True when the same question may be answered well soon, for all that its error says; its effect may be anything. */
export function mayPass(error: unknown): boolean {
  return isAmbiguous(error) || error instanceof UnsupportedServerError;
}

/** True when the server answered wrongly rather than not at all: worth some tries, not the whole time of a turn. */
export function isWrongAnswer(error: unknown): boolean {
  return [...wrongAnswers, BadRequestError].some((kind) => error instanceof kind);
}

/** The longest wait before a call that a server is believed to need. */
const maxRetryAfterMs = 60_000;

/** How long the server asked to be left alone, at most a minute; 0 when it did not. */
export function retryAfterMs(error: unknown): number {
  const asked = error instanceof UpstreamError ? (error.facts.retryAfterMs ?? 0) : 0;
  return Math.min(Math.max(0, asked), maxRetryAfterMs);
}
