import { maxSentenceBytes } from '../bounds/byte-budget.ts';
import { cutText } from '../bounds/cut-text.ts';
import type { Part } from '../reply/part.ts';
import type { Reply } from '../reply/reply.ts';
import type { SessionRetry } from '../reply/reply-observer.ts';
import type { TurnRun } from '../run/turn-run.ts';
import type { InputRequests } from './input-requests.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'live' | 'own' | 'policy' | 'stopSwitch'>;

/**
 * Connects a reply with those who want to know: followers, the snapshot, the budgets and the desk for
 * questions. Synchronous and cheap: it runs for every event.
 */
export function observeReply(run: Run, reply: Reply, inputRequests: InputRequests): void {
  const changed = (part: Part, rewritten = false) => {
    inputRequests.approvals.unheard.seen(part);
    if (isOutput(part)) run.live.noteOutput();
    run.live.followers.change(part, rewritten);
    run.live.autosave.touch();
  };
  reply.observe({
    partAdded: (part) => changed(part),
    partChanged: (part, change) => changed(part, change.replaced),
    partFinalized: (part) => {
      changed(part);
      inputRequests.approvals.seen(part);
    },
    childPartChanged: (_child, part) => inputRequests.approvals.seen(part),
    toolProgressed: (part) => changed(part),
    partsReset: (parts) => {
      run.live.followers.reset(parts);
      run.live.autosave.touch();
    },
    stepFinished: (_usage, isLast) => {
      run.live.followers.add({ type: 'usage', usage: reply.usage() });
      run.live.autosave.touch();
      // An answer that is complete is paid for already; ending it as an error would help nobody.
      if (!isLast) checkSpent(run, reply);
    },
    requestBegan: (requests) => {
      checkSpent(run, reply);
      if (reply.modelRequests > run.policy.limits.maxSteps) run.stopSwitch.stop('budget', 'maxSteps');
      else if (requests.withoutTool > maxWithoutTool) run.stopSwitch.stop('no-progress');
    },
    sessionRetried: ({ attempt, message, nextAt }) => {
      const told = cutText(message, maxSentenceBytes);
      run.live.followers.add({ type: 'retry', attempt, message: told, nextAt });
      checkRetries(run, { attempt, message: told, nextAt });
    },
    questionAsked: (request) => inputRequests.opened('question', { ...request }),
    questionReplied: (requestId) => inputRequests.replied(requestId),
    questionRejected: (requestId) => inputRequests.settled(requestId, 'rejected'),
    permissionAsked: (request) => inputRequests.opened('permission', { ...request }),
    requestGone: (requestId) => inputRequests.callEnded(requestId),
    permissionReplied: (requestId, reply) => inputRequests.replied(requestId, reply),
  });
}

const isOutput = (part: Part) => part.type === 'tool' || part.text !== '';

/**
 * How many requests in a row may call no tool: an answer, a compaction behind it and what is said after that, twice.
 * The server asks its model again after a finish that it does not know, and after a context that does not fit even
 * when it is compacted, for ever (1.18.33).
 */
const maxWithoutTool = 6;

/**
 * Checked when a step ends that is not the last, and when one begins: a last step may be followed by another all the
 * same. The step that crosses a limit is kept, the next one is not waited for.
 */
function checkSpent(run: Run, reply: Reply): void {
  const { maxCost, maxTokens } = run.policy.limits;
  const usage = reply.usage();
  const tokens = usage.input + usage.output + usage.reasoning + usage.cacheRead + usage.cacheWrite;
  if (usage.cost > maxCost) run.stopSwitch.stop('budget', 'maxCost');
  else if (tokens > maxTokens) run.stopSwitch.stop('budget', 'maxTokens');
}

/** Upstream retries a failing provider without end; nothing else tells. */
function checkRetries(run: Run, { attempt, message, nextAt }: SessionRetry): void {
  const { maxUpstreamRetries, maxUpstreamRetryDelayMs } = run.policy.limits;
  if (attempt > maxUpstreamRetries) run.stopSwitch.stop('budget', 'maxUpstreamRetries', message);
  else if (nextAt - run.own.now() > maxUpstreamRetryDelayMs)
    run.stopSwitch.stop('budget', 'maxUpstreamRetryDelayMs', message);
}
