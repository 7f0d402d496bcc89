/**
 * The events that a reply is made of, in our normal form, which is that of OpenCode 1.18. What is not in the table is data
 * that nobody here understands: `unknown`.
 */
import type {
  WireError,
  WireMessageInfo,
  WirePart,
  WirePermission,
  WireQuestion,
  WireSession,
  WireSessionStatus,
} from './wire.ts';

interface EventProperties {
  'message.updated': { sessionID: string; info: WireMessageInfo };
  'message.removed': { sessionID: string; messageID: string };
  'message.part.updated': { sessionID: string; part: WirePart };
  'message.part.delta': {
    sessionID: string;
    messageID: string;
    partID: string;
    field: string;
    delta: string;
  };
  'message.part.removed': { sessionID: string; messageID: string; partID: string };
  'session.created': { sessionID: string; info: WireSession };
  'session.updated': { sessionID: string; info: WireSession };
  'session.deleted': { sessionID: string; info: WireSession };
  'session.compacted': { sessionID: string };
  'session.status': { sessionID: string; status: WireSessionStatus };
  'session.idle': { sessionID: string };
  'session.error': { sessionID?: string; error?: WireError | null };
  'todo.updated': { sessionID: string; todos: readonly unknown[] };
  'question.asked': WireQuestion;
  'question.replied': { sessionID: string; requestID: string };
  'question.rejected': { sessionID: string; requestID: string };
  'permission.asked': WirePermission;
  'permission.replied': { sessionID: string; requestID: string; reply: string };
  'server.connected': Readonly<Record<string, unknown>>;
  /** Every 10 s; the only event of a healthy, silent stream. */
  'server.heartbeat': Readonly<Record<string, unknown>>;
  /** The last frame before the server closes the stream cleanly; running turns were aborted. */
  'server.instance.disposed': { directory: string };
}

export type KnownEventType = keyof EventProperties;

export type KnownEvent = {
  [T in KnownEventType]: { readonly id?: string; readonly type: T; readonly properties: EventProperties[T] };
}[KnownEventType];

export type OpenCodeEvent = KnownEvent | { readonly type: 'unknown'; readonly raw: unknown };
