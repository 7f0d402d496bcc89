import { describe, expect, it } from '@jest/globals';
import { checkListOptions, listTurns } from '../../src/client/list-turns.ts';
import { InvalidInputError } from '../../src/errors.ts';
import type { TurnLists } from '../../src/ports/turn-lists.ts';
import type { TurnQuery } from '../../src/turn/listed.ts';

const id = '0123456789abcdef01234567';

describe('a list of turns', () => {
  it('is asked for with what was said, and nothing else', () => {
    expect(checkListOptions({})).toEqual({ limit: 50 });
    expect(
      checkListOptions({
        status: 'error',
        reason: 'run_lost',
        since: new Date(5),
        until: 9.5,
        cursor: `7-${id}`,
      }),
    ).toEqual({
      status: 'error',
      reason: 'run_lost',
      since: 5,
      until: 9,
      limit: 50,
      behind: { id, createdAt: 7 },
    });
  });

  it.each<[unknown, string, RegExp]>([
    [{ statsu: 'error' }, 'statsu', /did you mean "status"/],
    [{ state: 'error' }, 'state', /is not known/],
    [{ waitingForPeple: true }, 'waitingForPeple', /did you mean "waitingForPeople"/],
    [{ status: 'eror' }, 'status', /did you mean "error"/],
    [{ status: { $ne: 'error' } }, 'status', /must be "pending"/],
    [{ policy: '' }, 'policy', /not be empty/],
    [{ policy: { $gt: '' } }, 'policy', /string/],
    [{ reason: 7 }, 'reason', /string/],
    [{ waitingForPeople: false }, 'waitingForPeople', /must be true/],
    [{ since: 'yesterday' }, 'since', /must be a time/],
    [{ until: new Date(Number.NaN) }, 'until', /must be a time/],
    [{ since: 1e17 }, 'since', /must be a time/],
    [{ limit: 201 }, 'limit', /from 1 to 200/],
    [{ cursor: `x-${id}` }, 'cursor', /must be the cursor of a page/],
    [{ cursor: 7 }, 'cursor', /string|cursor/],
    [{ status: 'completed', reason: 'run_lost' }, 'reason', /never of one that has the status "completed"/],
    [{ waitingForPeople: true, reason: 'run_lost' }, 'reason', /never of one that waits for people/],
    [{ waitingForPeople: true, status: 'error' }, 'waitingForPeople', /"pending", not "error"/],
    [null, 'options', /object/],
  ])('refuses %j, naming %s', (options, field, problem) => {
    const check = () => checkListOptions(options as never);
    expect(check).toThrow(InvalidInputError);
    expect(check).toThrow(problem);
    expect(check).toThrow(expect.objectContaining({ field }));
  });

  it('leads on by the cursor of its last turn, as long as there are more', async () => {
    const asked: TurnQuery[] = [];
    const last = { id, createdAt: 1_700_000_000_000 };
    const lists = {
      turns: async (query: TurnQuery) => {
        asked.push(query);
        return { turns: [last], isMore: asked.length === 1 };
      },
    } as unknown as TurnLists;
    const page = await listTurns(lists, { limit: 1 });
    expect(page.cursor).toEqual(expect.any(String));
    const next = await listTurns(lists, { limit: 1, cursor: page.cursor as string });
    expect(asked[1]).toEqual({ limit: 1, behind: last });
    expect(next).toEqual({ turns: [last] });
  });
});
