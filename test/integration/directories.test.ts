import { mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { StoredTurn, TurnPolicy, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { sentences } from '../../src/turn/failure-sentences.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;
let client: OpenCode;
const names = ['a%20b', 'a%b', '100%', 'a%2Fb', 'c d', 'a\\b', 'link', 'moved'] as const;
const place = (name: string) => path.join(system.sandboxRoot, 'places', name);

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  const { url, password } = system.opencode;
  client = openCodeClient({ address: serverAddress(url, undefined, password) });
  const { model } = system.policy;
  const policies = Object.fromEntries(
    names.map((name): [string, TurnPolicy] => [
      name,
      { ...(model ? { model } : {}), directory: () => place(name) },
    ]),
  );
  await turns.work({ policies });
}, 90_000);
afterAll(() => system.stop());

/** A turn whose agent writes one file, under the directory that it was told. */
async function turnIn(
  policy: string,
  conversation: string,
  uploads: readonly string[] = [],
): Promise<StoredTurn> {
  const write = () => ({
    name: 'write',
    input: { filePath: path.join(realpathSync(place(policy)), 'out.txt'), content: policy },
  });
  system.respond(({ step }) => (step === 0 ? { tools: [write()] } : { text: ['written'] }));
  const files = uploads.map((filename) => ({
    filename,
    contentType: 'text/plain',
    content: Buffer.from('mine'),
  }));
  const { id } = await turns.enqueue({ conversation, text: 'go', policy, files });
  await followAll(turns, id);
  return (await turns.get(id)) as StoredTurn;
}

describe('a directory', () => {
  it.each(['a%20b', 'a%2Fb', 'a\\b'])(
    'named %s, of which the server makes another one, ends the turn at once, and leaves no session behind',
    async (name) => {
      const before = system.model.turnRequests.length;
      const stored = await turnIn(name, await newConversation(turns));
      const reason = 'unusable_directory';
      expect(stored).toMatchObject({ status: 'error', error: { reason, message: sentences[reason] } });
      expect(stored.run).toMatchObject({ phase: 'finished', reruns: 0 });
      expect(stored.run.sessionId).toBeUndefined();
      expect(system.model.turnRequests.length).toBe(before);
      expect(await client.sessions(place(name))).toEqual([]);
    },
    180_000,
  );

  it.each(['a%b', '100%', 'c d'])(
    'named %s is the one that the agent works in',
    async (name) => {
      const stored = await turnIn(name, await newConversation(turns));
      expect(stored).toMatchObject({ status: 'completed', text: 'written', run: { reruns: 0 } });
      expect(readFileSync(path.join(place(name), 'out.txt'), 'utf8')).toBe(name);
      expect(stored.artifacts).toMatchObject([{ filename: 'out.txt' }]);
    },
    180_000,
  );
});

describe('a directory that is a link of the host', () => {
  it('has its files attached, and takes uploads', async () => {
    mkdirSync(place('real'), { recursive: true });
    symlinkSync(place('real'), place('link'));
    const conversation = await newConversation(turns);
    for (const uploads of [['mine.txt'], []]) {
      const stored = await turnIn('link', conversation, uploads);
      expect(stored).toMatchObject({ status: 'completed', artifacts: [{ filename: 'out.txt' }] });
      expect(stored.run.directory).toBe(realpathSync(place('real')));
    }
    expect(readFileSync(path.join(place('real'), 'mine.txt'), 'utf8')).toBe('mine');
  }, 180_000);

  it('and leads elsewhere since its session was made is not followed', async () => {
    for (const name of ['first', 'elsewhere']) mkdirSync(place(name), { recursive: true });
    symlinkSync(place('first'), place('moved'));
    const conversation = await newConversation(turns);
    expect(await turnIn('moved', conversation)).toMatchObject({ status: 'completed' });
    rmSync(place('moved'));
    symlinkSync(place('elsewhere'), place('moved'));
    writeFileSync(path.join(place('elsewhere'), 'out.txt'), 'a secret');
    const before = system.model.turnRequests.length;
    const stored = await turnIn('moved', conversation);
    expect(stored).toMatchObject({ status: 'error', error: { reason: 'unusable_directory' }, artifacts: [] });
    expect(system.model.turnRequests.length).toBe(before);
  }, 180_000);
});
