import type { AttributeName } from './attributes.ts';

interface MetricRow {
  readonly kind: 'counter' | 'histogram' | 'gauge';
  /** By UCUM, as OpenTelemetry's conventions have it. */
  readonly unit: string;
  /** All that may stand beside a value: names, codes and settings, never an id or a text. */
  readonly attributes: readonly AttributeName[];
  readonly description: string;
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[];
  /** Each observer tells of all there is, not of its own share: values of several are not added up. */
  readonly told?: 'whole';
}

/** As the conventions set them for `gen_ai.invoke_agent.duration`, and further: a turn may take an hour. */
const turnSeconds = [
  0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6, 819.2, 1638.4, 3276.8,
];
const model = [
  'gen_ai.operation.name',
  'gen_ai.provider.name',
  'gen_ai.request.model',
  'turn.policy',
] as const;

/**
 * Every metric that this library tells: the contract for dashboards and alerts, and what an adapter needs to know of
 * each. `docs/telemetry.md` shows the same rows and a test compares them. The names are those of OpenTelemetry's GenAI
 * conventions (semantic-conventions-genai v0.1.0) where they have one.
 */
export const metrics = {
  'opencode_turns.enqueued': {
    kind: 'counter',
    unit: '{turn}',
    attributes: [],
    description: 'Turns that were stored; a repeated call with the same key is none.',
  },
  'opencode_turns.finished': {
    kind: 'counter',
    unit: '{turn}',
    attributes: ['turn.status', 'turn.policy', 'turn.reason'],
    description: 'Turns that ended, whoever ended them; with the reason of those that failed.',
  },
  'gen_ai.invoke_agent.duration': {
    kind: 'histogram',
    unit: 's',
    attributes: ['turn.policy', 'turn.status', 'error.type', 'gen_ai.agent.name', 'gen_ai.request.model'],
    description: 'From the first claim of a turn to its end, over all owners.',
    buckets: turnSeconds,
  },
  'opencode_turns.queue.wait': {
    kind: 'histogram',
    unit: 's',
    attributes: ['turn.policy'],
    description: 'From enqueue to the first claim, behind earlier turns of the conversation, too.',
    buckets: [0.01, 0.025, 0.05, ...turnSeconds],
  },
  'opencode_turns.time_to_first_token': {
    kind: 'histogram',
    unit: 's',
    attributes: ['turn.policy', 'gen_ai.request.model'],
    description: 'From the first claim of a turn to the first output that was seen; recorded at its end.',
    buckets: turnSeconds,
  },
  'gen_ai.client.inference.usage.input_tokens': {
    kind: 'counter',
    unit: '{token}',
    attributes: model,
    description: 'Tokens that models read for turns, sub-agents and what came from a cache included.',
  },
  'gen_ai.client.inference.usage.output_tokens': {
    kind: 'counter',
    unit: '{token}',
    attributes: model,
    description: 'Tokens that models wrote for turns, sub-agents and reasoning included.',
  },
  'gen_ai.client.inference.usage.cache_read.input_tokens': {
    kind: 'counter',
    unit: '{token}',
    attributes: model,
    description: 'Those of the input that came from a cache.',
  },
  'gen_ai.client.inference.usage.cache_write.input_tokens': {
    kind: 'counter',
    unit: '{token}',
    attributes: model,
    description: 'Those of the input that went into a cache.',
  },
  'gen_ai.client.inference.usage.reasoning.output_tokens': {
    kind: 'counter',
    unit: '{token}',
    attributes: model,
    description: 'Those of the output that were reasoning.',
  },
  'opencode_turns.cost': {
    kind: 'counter',
    unit: '{USD}',
    attributes: ['turn.policy', 'gen_ai.provider.name', 'gen_ai.request.model'],
    description: 'What turns cost by the price list of the OpenCode server.',
  },
  'opencode_turns.adopted': {
    kind: 'counter',
    unit: '{turn}',
    attributes: ['turn.policy'],
    description: 'Turns that a worker joined after another one had started them.',
  },
  'opencode_turns.reruns': {
    kind: 'counter',
    unit: '{prompt}',
    attributes: ['turn.policy'],
    description: 'Prompts that were sent again because the server had lost their run.',
  },
  'opencode_turns.resends': {
    kind: 'counter',
    unit: '{prompt}',
    attributes: ['turn.policy'],
    description: 'Prompts that went to a new session because theirs was gone or did nothing.',
  },
  'opencode_turns.upstream.errors': {
    kind: 'counter',
    unit: '{call}',
    attributes: ['error.type', 'server.address', 'server.port'],
    description: 'Calls that an OpenCode server did not answer, or answered wrongly; by code of the error.',
  },
  'opencode_turns.unavailable': {
    kind: 'counter',
    unit: '{call}',
    attributes: ['db.system.name'],
    description: 'Calls that found MongoDB or Redis away; those of a wait that tries again count each.',
  },
  'opencode_turns.running': {
    kind: 'gauge',
    unit: '{turn}',
    attributes: [],
    description: 'Turns that this process carries.',
  },
  'opencode_turns.waiting': {
    kind: 'gauge',
    unit: '{turn}',
    attributes: ['job.state', 'messaging.destination.name'],
    told: 'whole',
    description:
      'Jobs of the whole deployment, told by each worker: `ready` for any worker, or `delayed` behind another turn.',
  },
  'opencode_turns.waiting_for_people': {
    kind: 'gauge',
    unit: '{turn}',
    attributes: [],
    description: 'Of the turns that this process carries, those with an open question or permission.',
  },
  'opencode_turns.followers': {
    kind: 'gauge',
    unit: '{follower}',
    attributes: [],
    description: 'Followers that this process serves.',
  },
} as const satisfies Readonly<Record<string, MetricRow>>;

export type MetricName = keyof typeof metrics;
export type CounterName = {
  [N in MetricName]: (typeof metrics)[N]['kind'] extends 'counter' ? N : never;
}[MetricName];
export type HistogramName = {
  [N in MetricName]: (typeof metrics)[N]['kind'] extends 'histogram' ? N : never;
}[MetricName];
export type GaugeName = {
  [N in MetricName]: (typeof metrics)[N]['kind'] extends 'gauge' ? N : never;
}[MetricName];
/** What may stand beside a value of that metric. */
export type MetricAttributes<N extends MetricName> = Readonly<
  Partial<Record<(typeof metrics)[N]['attributes'][number], string | number | undefined>>
>;
