import { describe, expect, it } from '@jest/globals';
import { Exchange } from '../../src/reply/exchange.ts';
import { judge } from '../../src/turn/verdict.ts';
import { recording, recordings } from '../support/recordings.ts';

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
    const failure = { reason: 'upstream_error', message: 'no such model' };
    const exchange = Exchange.from([], 'msg_own');
    expect(judge({ exchange, busy: false, streamError: failure })).toEqual({ kind: 'unsettled', failure });
    expect(judge({ exchange, busy: true, streamError: failure })).toEqual({ kind: 'working' });
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
