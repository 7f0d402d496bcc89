import { describe, expect, it } from '@jest/globals';
import { type PromptRequest, Prompts } from '../../src/reply/prompts.ts';

const question = (id: string, callID = `call_${id}`): PromptRequest => ({
  kind: 'question',
  request: { id, sessionID: 'ses_1', questions: [], tool: { messageID: 'msg_1', callID } },
});
const permission = (id: string): PromptRequest => ({
  kind: 'permission',
  request: { id, sessionID: 'ses_1', permission: 'bash', patterns: [] },
});

describe('prompts that wait for a person', () => {
  it('block until the last one is closed', () => {
    const prompts = new Prompts();
    expect(prompts.blocked).toBe(false);
    prompts.open(question('q1'));
    prompts.open(permission('p1'));
    prompts.close('q1');
    expect(prompts.blocked).toBe(true);
    prompts.close('p1');
    expect(prompts.blocked).toBe(false);
  });

  it('are found by request and by call, while they are open', () => {
    const prompts = new Prompts();
    prompts.open(question('q1', 'call_1'));
    expect(prompts.get('q1')).toBe(prompts.byCall('msg_1 call_1'));
    expect(prompts.byCall('msg_1 call_2')).toBeUndefined();
    prompts.close('q1');
    expect([prompts.get('q1'), prompts.byCall('msg_1 call_1')]).toEqual([undefined, undefined]);
  });

  it('open once, and never again after they were closed, in whatever order that is told', () => {
    const prompts = new Prompts();
    expect([prompts.open(question('q1')), prompts.open(question('q1'))]).toEqual([true, false]);
    expect([prompts.close('q1'), prompts.close('q1'), prompts.open(question('q1'))]).toEqual([
      true,
      false,
      false,
    ]);
    expect([prompts.close('q2'), prompts.open(question('q2'))]).toEqual([false, false]);
  });

  it('carry when they were asked, how long they may wait, and what happens then', () => {
    const reject = { timeoutMs: 1_000, whenOver: { kind: 'reject' } } as const;
    const allow = { timeoutMs: 50, whenOver: { kind: 'permission', reply: 'once' } } as const;
    let now = 10_000;
    const prompts = new Prompts({
      now: () => now,
      policy: ({ kind }) => (kind === 'question' ? reject : allow),
    });
    prompts.open(question('q1'));
    now += 500;
    prompts.open(permission('p1'));
    expect(prompts.get('q1')).toMatchObject({ askedAt: 10_000, deadlineAt: 11_000, policy: reject });
    expect(prompts.get('p1')).toMatchObject({ askedAt: 10_500, deadlineAt: 10_550, policy: allow });
    expect(prompts.overdue(10_549)).toEqual([]);
    expect(prompts.overdue(10_550).map(({ request }) => request.id)).toEqual(['p1']);
  });

  it('wait without limit when nobody says otherwise', () => {
    const prompts = new Prompts();
    prompts.open(question('q1'));
    expect(prompts.overdue(Number.MAX_SAFE_INTEGER)).toEqual([]);
  });
});
