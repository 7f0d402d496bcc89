/** Tests of code that uses turns, without Redis, MongoDB or OpenCode. Any test runner will do; this is Node's own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Turns } from 'opencode-turns';
import {
  manualClock,
  scriptedUpstream,
  testTurns,
  waitForRequest,
  waitForTurn,
} from 'opencode-turns/testing';

/** Code of yours: it is given `turns`, which `connect` returns in production. */
async function askForReport(turns: Turns, trip: string): Promise<string> {
  const { id } = await turns.enqueue({ conversation: trip, text: 'Write a report.', policy: 'reporter' });
  return id;
}

/** Rules of yours, as the worker registers them. */
const minute = 60_000;
const reporter = {
  model: 'anthropic/claude-sonnet-4-5',
  permissions: [{ permission: 'bash', pattern: '*', action: 'ask' as const }],
  limits: { inputTimeoutMs: 10 * minute },
};

test('the report is attached', async () => {
  const upstream = scriptedUpstream(async (agent) => {
    await agent.writes('report.md', '# Lisbon');
    agent.says('Done.');
  });
  const { turns, conversation, close } = await testTurns({ upstream, policies: { reporter } });
  const turn = await waitForTurn(turns, await askForReport(turns, conversation({ title: 'Lisbon' })));
  assert.equal(turn.text, 'Done.');
  assert.deepEqual(
    turn.artifacts.map(({ filename }) => filename),
    ['report.md'],
  );
  assert.equal(upstream.prompts[0]?.model, 'anthropic/claude-sonnet-4-5');
  await close();
});

test('a command waits for a person, ten minutes long', async () => {
  const clock = manualClock();
  const upstream = scriptedUpstream(async (agent) => {
    await agent.uses('bash', { input: { command: 'curl example.com' } });
    agent.says('Fetched.');
  });
  const { turns, conversation, close } = await testTurns({ upstream, policies: { reporter }, clock });

  const allowed = await askForReport(turns, conversation());
  const { requestId } = await waitForRequest(turns, allowed);
  await turns.answer(allowed, requestId, { kind: 'permission', reply: 'once' });
  assert.equal((await waitForTurn(turns, allowed)).text, 'Fetched.');

  const forgotten = await askForReport(turns, conversation());
  await waitForRequest(turns, forgotten);
  await clock.advance(11 * minute);
  const { requests, text } = await waitForTurn(turns, forgotten);
  assert.deepEqual([requests[0]?.state, text], ['rejected', '']);
  await close();
});

test('what the provider refuses is told', async () => {
  const upstream = scriptedUpstream((agent) =>
    agent.fails({ message: 'Incorrect API key.', statusCode: 401 }),
  );
  const { turns, conversation, close } = await testTurns({ upstream, policies: { reporter } });
  const { status, error } = await waitForTurn(turns, await askForReport(turns, conversation()));
  assert.deepEqual([status, error?.reason], ['error', 'provider_authentication']);
  await close();
});
