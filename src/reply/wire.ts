/**
 * Our normal form of what upstream holds. It is what OpenCode 1.18 sends, as far as this library reads it (its OpenAPI
 * document, checked live); what another version sends is translated into it. Unknown fields are kept out of the types, not
 * out of the data.
 */
export interface WireTokens {
  readonly input: number;
  readonly output: number;
  readonly reasoning: number;
  readonly cache: { readonly read: number; readonly write: number };
}

export interface WireError {
  readonly name: string;
  readonly data?: { readonly message?: string; readonly statusCode?: number; readonly isRetryable?: boolean };
}

export interface WireMessageInfo {
  readonly id: string;
  readonly sessionID: string;
  readonly role: 'user' | 'assistant';
  readonly parentID?: string;
  readonly time: { readonly created: number; readonly completed?: number };
  readonly finish?: string;
  readonly error?: WireError;
  readonly summary?: unknown;
  readonly mode?: string;
  readonly cost?: number;
  readonly tokens?: WireTokens;
}

/** A part as it is on the wire; `reply/part.ts` makes our own parts of it. */
export interface WirePart {
  readonly id: string;
  readonly sessionID: string;
  readonly messageID: string;
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface WireMessage {
  readonly info: WireMessageInfo;
  readonly parts: readonly WirePart[];
}

export interface WireSession {
  readonly id: string;
  readonly directory?: string;
  /** The directory below its project's root. */
  readonly path?: string;
  readonly parentID?: string;
  readonly title?: string;
  readonly cost?: number;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly permission?: readonly {
    readonly permission: string;
    readonly pattern: string;
    readonly action: 'allow' | 'ask' | 'deny';
  }[];
  readonly time?: { readonly created: number; readonly updated: number };
}

/** Idle sessions are absent from the status list; memory only, lost when the server restarts. */
export type WireSessionStatus =
  | { readonly type: 'idle' }
  | { readonly type: 'busy' }
  | { readonly type: 'retry'; readonly attempt: number; readonly message: string; readonly next: number };

export interface WireQuestion {
  readonly id: string;
  readonly sessionID: string;
  readonly questions: readonly {
    readonly question: string;
    readonly header: string;
    readonly options: readonly { readonly label: string; readonly description?: string }[];
    readonly multiple?: boolean;
    readonly custom?: boolean;
  }[];
  readonly tool?: { readonly messageID: string; readonly callID: string };
}

export interface WirePermission {
  readonly id: string;
  readonly sessionID: string;
  readonly permission: string;
  readonly patterns: readonly string[];
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly always?: readonly string[];
  readonly tool?: { readonly messageID: string; readonly callID: string };
}

/** One frame of the event stream. `properties` is only read through `decodeEvent`. */
export interface WireEvent {
  readonly id?: string;
  readonly type: string;
  readonly properties: Readonly<Record<string, unknown>>;
}
