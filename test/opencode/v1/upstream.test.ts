import { expect, it } from '@jest/globals';
import { ConnectionError, ForeignAnswerError } from '../../../src/errors.ts';
import type { OpenCode } from '../../../src/opencode/v1/server.ts';
import { Reply } from '../../../src/reply/reply.ts';
import type { WireSession } from '../../../src/reply/wire.ts';
import { upstreamOver } from '../../support/upstream.ts';

const ids = { sessionId: 'ses', server: '', directory: '/d', promptMessageId: 'msg', promptPartId: 'prt' };
const never = new AbortController().signal;
const given = { title: 't', directory: '/a', metadata: { mint: 'ours' } };
const reporter = { report: () => undefined };

it('each request is noticed, of which one reading makes several: a server that answers one is not away', async () => {
  const failure = new ConnectionError('cut', { method: 'GET', path: '/session/{id}/message' });
  const client = {
    statuses: async () => ({}),
    messages: async () => {
      throw failure;
    },
  } as unknown as OpenCode;
  const log: unknown[] = [];
  const feed = {
    subscribe: () => ({ ready: async () => undefined, add: () => undefined, close: () => undefined }),
  };
  const upstream = upstreamOver(client, { feed }).noticedBy({
    answered: () => log.push('answered'),
    failed: (error) => log.push(error),
  });
  const reply = new Reply({ sessionId: 'ses', promptMessageId: 'msg', reporter });
  const sink = { connected: () => undefined, heard: () => undefined, gap: () => undefined };
  const followed = upstream.follow(ids, { told: false, children: [], reply }, sink);
  await expect(followed.read({ restore: false }, never)).rejects.toBe(failure);
  expect(log).toEqual(['answered', failure]);
});

it.each<[string, Partial<WireSession>, string | undefined]>([
  ['where it was asked for', { directory: '/a', metadata: given.metadata }, undefined],
  ['by a server that keeps no metadata', {}, undefined],
  ['in another folder', { directory: '/a b', metadata: given.metadata }, '/a b'],
])('a session that was made %s', async (_, made, elsewhere) => {
  const client = { createSession: async () => ({ id: 'ses', ...made }) } as unknown as OpenCode;
  const session = await upstreamOver(client).createSession(
    elsewhere === undefined ? given : { ...given, directory: '/a%20b' },
  );
  expect(session.elsewhere).toBe(elsewhere);
});

it('a session that was made for another request is nobody’s answer', async () => {
  const client = {
    createSession: async () => ({ id: 'ses', metadata: { mint: 'theirs' } }),
  } as unknown as OpenCode;
  await expect(upstreamOver(client).createSession(given)).rejects.toBeInstanceOf(ForeignAnswerError);
});
