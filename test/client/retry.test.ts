import { expect, it } from '@jest/globals';
import { scriptedUpstream, testTurns } from '../../src/testing/index.ts';

it('a retry after others that were dropped has the files of the turn, whole', async () => {
  await using test = await testTurns({ upstream: scriptedUpstream('fine') });
  const { turns } = test;
  const conversation = turns.conversation(test.conversation());
  const files = [{ filename: 'a.txt', contentType: 'text/plain', content: Buffer.from('bytes') }];
  const { id } = await conversation.enqueue({ text: 'look', files });
  await conversation.drop(id);
  const dropped = await conversation.retry(id);
  await conversation.drop(dropped.id);
  const { uploads, retryOf } = await conversation.retry(id);
  expect(retryOf).toBe(id);
  expect(uploads).toMatchObject([{ filename: 'a.txt', bytes: 5 }]);
});
