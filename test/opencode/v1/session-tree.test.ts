import { expect, it } from '@jest/globals';
import { SessionNotFoundError } from '../../../src/errors.ts';
import { areOver, sessionsBelow } from '../../../src/opencode/v1/session-tree.ts';
import type { WireMessage, WireSession } from '../../../src/reply/wire.ts';

const never = new AbortController().signal;

/** Answers children by their parent, and counts the questions. `gone` was deleted. */
function server(children: (id: string) => readonly string[]) {
  const asked: string[] = [];
  return {
    asked,
    children: async (id: string): Promise<WireSession[]> => {
      asked.push(id);
      if (id === 'gone') throw new SessionNotFoundError('not found', { method: 'GET', path: '/' });
      return children(id).map((child) => ({ id: child, time: { created: 0, updated: Number(child) } }));
    },
  };
}
const below = async (client: ReturnType<typeof server>, ...ids: string[]) =>
  (await sessionsBelow(client, ids, never)).map(({ id }) => id);

it('finds sub-agents of sub-agents, parents first, the last used first, each once', async () => {
  const tree: Record<string, string[]> = { root: ['1', '2'], '1': ['3'], '2': ['4', '3', 'root'] };
  expect(
    await below(
      server((id) => tree[id] ?? []),
      'root',
    ),
  ).toEqual(['2', '1', '4', '3']);
});

it('goes on around a session that was deleted', async () => {
  const client = server((id) => (id === 'root' ? ['gone', '1'] : id === '1' ? ['2'] : []));
  expect(await below(client, 'root')).toEqual(['gone', '1', '2']);
});

it('asks a bounded number of times, however many and however deep they are', async () => {
  let last = 0;
  const next = () => {
    last += 1;
    return String(last);
  };
  const deep = server(() => [next()]);
  expect(await below(deep, 'root')).toHaveLength(8);
  const wide = server((id) => (id === 'root' ? Array.from({ length: 500 }, next) : []));
  expect(await below(wide, 'root')).toHaveLength(500);
  expect(wide.asked).toHaveLength(50);
});

const answer = (more: object, completed?: number) => ({
  role: 'assistant',
  time: { created: 1, completed },
  ...more,
});
const sessions: Record<string, object[]> = {
  empty: [],
  asked: [answer({ finish: 'stop' }, 2), { role: 'user', time: { created: 3 } }],
  writing: [answer({ finish: 'stop' })],
  'between two steps': [answer({ finish: 'tool-calls' }, 2)],
  'complete without a word': [answer({}, 2)],
  finished: [{ role: 'user', time: { created: 0 } }, answer({ finish: 'stop' }, 2)],
  aborted: [answer({ error: { name: 'MessageAbortedError' } }, 2)],
};
const messages = async (id: string) => {
  if (id === 'gone') throw new SessionNotFoundError('not found', { method: 'GET', path: '/' });
  return (sessions[id] ?? []).map((info) => ({ info, parts: [] })) as unknown as WireMessage[];
};

it.each([
  ['empty', false],
  ['asked', false],
  ['writing', false],
  ['between two steps', false],
  ['complete without a word', false],
  ['finished', true],
  ['aborted', true],
  ['gone', true],
])('a session is over by its messages: %s, %s', async (id, over) => {
  expect(await areOver({ messages }, [id], never)).toBe(over);
  expect(await areOver({ messages }, ['finished', id, 'aborted'], never)).toBe(over);
});
