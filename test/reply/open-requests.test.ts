import { describe, expect, it } from '@jest/globals';
import { type AskedRequest, OpenRequests } from '../../src/reply/open-requests.ts';

const question = (id: string, callID = `call_${id}`): AskedRequest => ({
  kind: 'question',
  request: { id, sessionID: 'ses_1', questions: [], tool: { messageID: 'msg_1', callID } },
});
const permission = (id: string): AskedRequest => ({
  kind: 'permission',
  request: { id, sessionID: 'ses_1', permission: 'bash', patterns: [] },
});

describe('requests that wait for a person', () => {
  it('block until the last one is closed', () => {
    const requests = new OpenRequests();
    expect(requests.blocked).toBe(false);
    requests.open(question('q1'));
    requests.open(permission('p1'));
    requests.close('q1');
    expect(requests.blocked).toBe(true);
    requests.close('p1');
    expect(requests.blocked).toBe(false);
  });

  it('are found by request and by call, while they are open', () => {
    const requests = new OpenRequests();
    requests.open(question('q1', 'call_1'));
    expect(requests.get('q1')).toBe(requests.byCall('msg_1 call_1'));
    expect(requests.byCall('msg_1 call_2')).toBeUndefined();
    requests.close('q1');
    expect([requests.get('q1'), requests.byCall('msg_1 call_1')]).toEqual([undefined, undefined]);
  });

  it('open once, and never again after they were closed, in whatever order that is told', () => {
    const requests = new OpenRequests();
    expect([requests.open(question('q1')), requests.open(question('q1'))]).toEqual([true, false]);
    expect([requests.close('q1'), requests.close('q1'), requests.open(question('q1'))]).toEqual([
      true,
      false,
      false,
    ]);
    expect([requests.close('q2'), requests.open(question('q2'))]).toEqual([false, false]);
  });

  it('carry when they were asked, how long they may wait, and what happens then', () => {
    const reject = { timeoutMs: 1_000, whenOver: { kind: 'reject' } } as const;
    const allow = { timeoutMs: 50, whenOver: { kind: 'permission', reply: 'once' } } as const;
    let now = 10_000;
    const requests = new OpenRequests({
      now: () => now,
      policy: ({ kind }) => (kind === 'question' ? reject : allow),
    });
    requests.open(question('q1'));
    now += 500;
    requests.open(permission('p1'));
    expect(requests.get('q1')).toMatchObject({ askedAt: 10_000, deadlineAt: 11_000, policy: reject });
    expect(requests.get('p1')).toMatchObject({ askedAt: 10_500, deadlineAt: 10_550, policy: allow });
    expect(requests.overdue(10_549)).toEqual([]);
    expect(requests.overdue(10_550).map(({ request }) => request.id)).toEqual(['p1']);
  });

  it('wait without limit when nobody says otherwise', () => {
    const requests = new OpenRequests();
    requests.open(question('q1'));
    expect(requests.overdue(Number.MAX_SAFE_INTEGER)).toEqual([]);
  });
});
