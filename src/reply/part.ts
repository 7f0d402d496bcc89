/**
 * The parts of a reply as they are kept, stored and shown. One shape for live and polled data.
 */
import type { PartSource } from './part-source.ts';

interface PartBase {
  readonly id: string;
  readonly messageId: string;
  readonly source: PartSource;
}

export interface TextPart extends PartBase {
  readonly type: 'text';
  readonly text: string;
}

export interface ReasoningPart extends PartBase {
  readonly type: 'reasoning';
  readonly text: string;
}

export type ToolStatus = 'pending' | 'running' | 'completed' | 'error';

export interface ToolPart extends PartBase {
  readonly type: 'tool';
  readonly tool: string;
  readonly callId: string;
  readonly status: ToolStatus;
  readonly title?: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly output?: string;
  /** At most 200 characters. */
  readonly error?: string;
}

export type Part = TextPart | ReasoningPart | ToolPart;

export interface TokenUsage {
  readonly input: number;
  readonly output: number;
  readonly reasoning: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
}

/** USD and tokens. `children` is the share of sub-agent sessions; the outer figures include it. */
export interface Usage extends TokenUsage {
  readonly cost: number;
  readonly steps: number;
  readonly children: { readonly cost: number; readonly tokens: TokenUsage };
}
