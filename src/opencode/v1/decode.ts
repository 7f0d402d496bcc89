/**
 * Undecoded events of OpenCode 1.18. What is not of the shape that the table promises becomes `unknown` and never an
 * exception, so a newer server cannot break a turn.
 */
import type { KnownEvent, KnownEventType, OpenCodeEvent } from '../../reply/events.ts';
import type { WireEvent } from '../../reply/wire.ts';

type Check = (properties: Readonly<Record<string, unknown>>) => boolean;

const has =
  (...fields: string[]): Check =>
  (properties) =>
    fields.every((field) => typeof properties[field] === 'string');

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

const isText = (value: unknown): value is string => typeof value === 'string';

/**
 * What has to be there before the rest of this folder may look at an event. The three that make up a long reply
 * are written out: every delta of every turn of a process passes here.
 */
const checks: Record<KnownEventType, Check> = {
  'message.updated': ({ info }) =>
    isObject(info) &&
    isText(info.id) &&
    isText(info.sessionID) &&
    (info.role === 'user' || info.role === 'assistant') &&
    isObject(info.time),
  'message.removed': has('sessionID', 'messageID'),
  'message.part.updated': ({ part }) =>
    isObject(part) &&
    isText(part.id) &&
    isText(part.sessionID) &&
    isText(part.messageID) &&
    isText(part.type),
  'message.part.delta': ({ sessionID, messageID, partID, field, delta }) =>
    isText(sessionID) && isText(messageID) && isText(partID) && isText(field) && isText(delta),
  'message.part.removed': has('sessionID', 'messageID', 'partID'),
  'session.created': isSession,
  'session.updated': isSession,
  'session.deleted': isSession,
  'session.compacted': has('sessionID'),
  'session.status': (properties) => has('sessionID')(properties) && isStatus(properties.status),
  'session.idle': has('sessionID'),
  'session.error': ({ error }) =>
    error === undefined || error === null || (isObject(error) && has('name')(error)),
  'todo.updated': (properties) => has('sessionID')(properties) && Array.isArray(properties.todos),
  'question.asked': (properties) => has('id', 'sessionID')(properties) && Array.isArray(properties.questions),
  'question.replied': has('sessionID', 'requestID'),
  'question.rejected': has('sessionID', 'requestID'),
  'permission.asked': has('id', 'sessionID', 'permission'),
  'permission.replied': has('sessionID', 'requestID', 'reply'),
  'server.connected': () => true,
  'server.heartbeat': () => true,
  'server.instance.disposed': has('directory'),
};

const checkOf = new Map<string, Check>(Object.entries(checks));

function isSession({ info }: Readonly<Record<string, unknown>>): boolean {
  return isObject(info) && typeof info.id === 'string';
}

function isStatus(status: unknown): boolean {
  if (!isObject(status)) return false;
  if (status.type === 'idle' || status.type === 'busy') return true;
  const { type, attempt, message, next } = status;
  return (
    type === 'retry' && typeof attempt === 'number' && typeof message === 'string' && typeof next === 'number'
  );
}

/** Looks, and copies nothing: a known event is the object that came in. Never throws. */
export function decodeEvent(raw: unknown): OpenCodeEvent {
  if (!isObject(raw) || !isText(raw.type) || !isObject(raw.properties)) return { type: 'unknown', raw };
  if (raw.id !== undefined && !isText(raw.id)) return { type: 'unknown', raw };
  return checkOf.get(raw.type)?.(raw.properties) ? (raw as unknown as KnownEvent) : { type: 'unknown', raw };
}

/** The session that an event is about, or undefined when it is about none. Works on undecoded events. */
export function sessionOf(event: WireEvent): string | undefined {
  const { sessionID, info, part } = event.properties;
  if (typeof sessionID === 'string') return sessionID;
  for (const holder of [part, info]) {
    if (isObject(holder) && typeof holder.sessionID === 'string') return holder.sessionID;
  }
  return isObject(info) && event.type.startsWith('session.') && typeof info.id === 'string'
    ? info.id
    : undefined;
}
