import { expect, it } from '@jest/globals';
import { ConnectionError, SessionNotFoundError, UnsupportedServerError } from '../../../src/errors.ts';
import type { OpenCode, PromptRequest } from '../../../src/opencode/v1/server.ts';
import { submit } from '../../../src/opencode/v1/submit.ts';

const facts = { method: 'POST', path: '/session/{id}/prompt_async' };
const cut = new ConnectionError('cut', facts);
const other = new UnsupportedServerError('http://x', '2.0.26', '1.x');
const ids = { sessionId: 'ses', server: '', directory: '/d', promptMessageId: 'msg', promptPartId: 'prt' };
const never = new AbortController().signal;

/** A server whose answers to POSTs and look-ups are told: an error, or what it says. Each list is used up. */
function server(posts: readonly (Error | 'stored')[], looks: readonly (Error | 'there' | 'absent')[] = []) {
  const log: string[] = [];
  const bodies: PromptRequest[] = [];
  const take = <T>(list: readonly (Error | T)[], at: number): T => {
    const next = list[at];
    if (next === undefined) throw new Error('asked too often');
    if (next instanceof Error) throw next;
    return next;
  };
  let posted = 0;
  let looked = 0;
  const client = {
    prompt: async (_session: string, body: PromptRequest) => {
      log.push('post');
      bodies.push(body);
      posted += 1;
      take(posts, posted - 1);
    },
    message: async () => {
      log.push('look');
      looked += 1;
      return take(looks, looked - 1) === 'there' ? {} : null;
    },
  } as unknown as OpenCode;
  const tries = { firstMs: 0, maxMs: 0, again: (error: unknown) => error === cut || error === other };
  /** The first one is that of the prompt. */
  const patience = (borne: number) => {
    let asked = -1;
    return () => {
      asked += 1;
      let failures = 0;
      const again = (error: unknown) => {
        failures += 1;
        return tries.again(error) && failures <= borne;
      };
      return asked === 0 ? tries : { ...tries, again };
    };
  };
  /** `borne`: how many failures of one look-up are. */
  const bring = (first = true, borne = Number.POSITIVE_INFINITY) =>
    submit(
      client,
      ids,
      { text: 'hello', agent: 'build' },
      { first, before: async () => void log.push('before'), patience: patience(borne) },
      never,
    );
  return { log, bodies, bring };
}

it('is posted once where that is answered', async () => {
  const { log, bodies, bring } = server(['stored']);
  await bring();
  expect(log).toEqual(['before', 'post']);
  expect(bodies).toEqual([
    { messageId: 'msg', parts: [{ id: 'prt', type: 'text', text: 'hello' }], agent: 'build' },
  ]);
});

it('is not posted again when the server turns out to have it', async () => {
  const { log, bring } = server([cut], [cut, 'there']);
  await bring();
  expect(log).toEqual(['before', 'post', 'look', 'look']);
});

it('is posted again, as the same message, when the server has it not; ownership is asked for each time', async () => {
  const { log, bodies, bring } = server([cut, 'stored'], ['absent']);
  await bring();
  expect(log).toEqual(['before', 'post', 'look', 'before', 'post']);
  expect(bodies[1]).toEqual(bodies[0]);
});

it('is not posted again when nobody can say whether the server has it', async () => {
  const { log, bring } = server([cut, 'stored'], [cut, cut]);
  await expect(bring(true, 1)).rejects.toBe(cut);
  expect(log).toEqual(['before', 'post', 'look', 'look']);
});

it('is not posted again when its session is gone', async () => {
  const gone = new SessionNotFoundError('gone', facts);
  const { log, bring } = server([cut], [gone]);
  await expect(bring()).rejects.toBe(gone);
  expect(log).toEqual(['before', 'post', 'look']);
});

it('another version in its place is refused at once before anything is upstream, and borne afterwards', async () => {
  const before = server([other, 'stored']);
  await expect(before.bring(true)).rejects.toBe(other);
  expect(before.log).toEqual(['before', 'post']);
  const after = server([other, 'stored']);
  await after.bring(false);
  expect(after.log).toEqual(['before', 'post', 'before', 'post']);
});
