/**
 * For tests of code that uses turns: `opencode-turns/testing`. The real client and worker without any server.
 *
 * ```ts
 * const { turns, conversation, close } = await testTurns({ policies: { default: {} }, upstream: scriptedUpstream('Paris.') });
 * const { id } = await turns.enqueue({ conversation: conversation(), text: 'The capital of France?' });
 * const turn = await waitForTurn(turns, id);
 * expect(turn.text).toBe('Paris.');
 * await close();
 * ```
 *
 * @module opencode-turns/testing
 */
export type { Clock } from '../timing/clock.ts';
export type { ConversationIdType } from '../turn/conversation-id.ts';
export type {
  Agent,
  AgentCall,
  AgentFailure,
  AgentPrompt,
  AgentQuestion,
  AgentScript,
  ScriptedUpstream,
} from './agent.ts';
export { type ManualClock, manualClock } from './manual-clock.ts';
export { scriptedUpstream } from './scripted-server.ts';
export { type TestTurns, type TestTurnsOptions, testTurns } from './test-turns.ts';
export { type Followed, type WaitOptions, waitForRequest, waitForTurn } from './wait-for.ts';
