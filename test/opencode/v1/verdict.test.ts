import { describe, expect, it } from '@jest/globals';
import { judge } from '../../../src/opencode/v1/verdict.ts';
import { Exchange } from '../../../src/reply/exchange.ts';
import { recording, recordings } from '../../support/recordings.ts';

/** What an idle session with the first `count` messages of a recording means. */
function verdict(name: string, count?: number) {
  const { messages, prompts } = recording(name);
  const exchange = Exchange.from(messages.slice(0, count), prompts.at(-1) ?? '');
  return judge({ exchange, busy: false, streamError: undefined }).kind;
}

describe('an idle session means', () => {
  const ends: Record<string, string> = {
    'abort-midstream': 'aborted',
    'bash-aborted': 'aborted',
    'error-retry-then-abort': 'aborted',
    'error-401': 'failed',
  };

  it.each(recordings.map(({ name }) => [name, ends[name] ?? 'completed']))('after %s: %s', (name, kind) => {
    expect(verdict(name)).toBe(kind);
  });

  it('nothing yet when its stream told an error and no answer has begun', () => {
    const failure = { reason: 'upstream_error', message: 'no such model' } as const;
    const exchange = Exchange.from([], 'msg_own');
    expect(judge({ exchange, busy: false, streamError: failure })).toEqual({ kind: 'unsettled', failure });
    expect(judge({ exchange, busy: true, streamError: failure })).toEqual({ kind: 'working' });
  });

  it('nothing when it was aborted and the prompt has been posted again since', () => {
    const { messages, prompts } = recording('abort-midstream');
    const id = prompts.at(-1) ?? '';
    const again = messages.map((message) =>
      message.info.id === id
        ? { ...message, info: { ...message.info, time: { created: Number.MAX_SAFE_INTEGER } } }
        : message,
    );
    const exchange = Exchange.from(again, id);
    expect(judge({ exchange, busy: false, streamError: undefined }).kind).toBe('unsettled');
  });

  it('that a run was lost when upstream would have gone on', () => {
    expect(verdict('tool-write', 2)).toBe('unsettled');
    expect(verdict('task-subagent', 2)).toBe('unsettled');
    expect(verdict('compaction-auto', 3)).toBe('unsettled');
    // A refusal with a reason is told to the model; one without ends the turn.
    expect(verdict('permission-rejected-feedback', 2)).toBe('unsettled');
    expect(verdict('permission-rejected', 2)).toBe('completed');
  });
});

describe('a busy session means', () => {
  const busy = (name: string, count: number | undefined, more = {}) => {
    const { messages, prompts } = recording(name);
    const exchange = Exchange.from(messages.slice(0, count), prompts.at(-1) ?? '');
    return judge({ exchange, busy: true, streamError: undefined, ...more });
  };

  it('work while its messages may go on', () => {
    expect(busy('tool-write', 2)).toEqual({ kind: 'working' });
    expect(busy('compaction-auto', 3)).toEqual({ kind: 'working' });
    expect(busy('compaction-overflow', 4)).toEqual({ kind: 'working' });
    expect(busy('text', 1)).toEqual({ kind: 'working' });
  });

  it('doubt once they are complete, unless a sub-agent is busy', () => {
    const meaning = { kind: 'completed' };
    expect(busy('text', undefined)).toEqual({ kind: 'doubtful', meaning });
    expect(busy('text', undefined, { idleSeen: true })).toEqual({ kind: 'doubtful', meaning });
    expect(busy('text', undefined, { childBusy: true, idleSeen: true })).toEqual({ kind: 'working' });
  });
});
