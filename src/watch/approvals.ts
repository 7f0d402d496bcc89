import { AnsweredElsewhereError } from '../errors.ts';
import { callKey } from '../reply/call-key.ts';
import type { Part, ToolPart } from '../reply/part.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { fits } from '../turn/check-answer.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { PromptAnswer, StoredPrompt } from '../turn/stored-turn.ts';
import { matches } from '../turn/wildcard.ts';
import { UnheardCalls } from './unheard-calls.ts';

/** What upstream was replied; undefined when nobody has told. */
type Replied = string | undefined;
type Told = Pick<StoredPrompt, 'kind' | 'sessionId'> & { readonly requestId: string | undefined };

/**
 * Tells an approval that no person of ours gave: none that is stored, by whichever owner it was sent, and none that
 * follows from an `always` of theirs. Whoever has the server's password can give one. What a policy makes of it is
 * `answeredElsewhere`. A refusal is nobody's approval, whoever gave it.
 */
export class Approvals {
  readonly #run: TurnRun;
  /** What people have answered, by request. */
  readonly #given = new Map<string, { readonly prompt: StoredPrompt; readonly answer: PromptAnswer }>();
  /** Requests that upstream has no more without a word, by their call: whether it ran tells what was replied. */
  readonly #vanished = new Map<string, StoredPrompt>();
  /** What was asked and allowed while nobody listened. */
  readonly unheard: UnheardCalls;
  #judging = Promise.resolve();

  constructor(run: TurnRun, ids: PromptIds, known: readonly StoredPrompt[], adopted: boolean) {
    this.#run = run;
    const judge = (work: () => Promise<void>) => {
      this.#judging = this.#judging.then(work);
    };
    const tell = () =>
      this.#tell({ kind: 'permission', requestId: undefined, sessionId: ids.sessionId }, undefined);
    this.unheard = new UnheardCalls({ run, ids, judge, tell }, adopted ? run.told : [], adopted);
    for (const prompt of known) if (prompt.answer) this.given(prompt, prompt.answer);
    // The owner before us may have died between storing what it heard and ending the turn for it.
    if (run.policy.answeredElsewhere !== 'stop') return;
    for (const prompt of known)
      if (prompt.kind === 'permission' && prompt.state === 'answered') this.#judge(prompt, undefined);
  }

  /** A person's answer is stored; one that does not fit is sent to nobody. */
  given(prompt: StoredPrompt, answer: PromptAnswer): void {
    if (fits(prompt, answer)) this.#given.set(prompt.requestId, { prompt, answer });
  }

  answerTo(requestId: string): PromptAnswer | undefined {
    return this.#given.get(requestId)?.answer;
  }

  /** Upstream tells what was replied. */
  replied(prompt: StoredPrompt, reply: Replied): void {
    if (reply !== 'reject') this.#judge(prompt, reply);
  }

  /** Upstream has the request no more and has not said why. A loop is asked about beside its call, which runs. */
  vanished(prompt: StoredPrompt): void {
    const { kind, request, sessionId, messageId, callId } = prompt;
    if (kind !== 'permission' || request.permission === 'doom_loop') return;
    if (messageId === undefined || callId === undefined) return;
    const { reply, ids } = this.#run;
    const key = callKey({ messageId, callId });
    const own = sessionId === ids?.sessionId || !reply?.childSessions().has(sessionId);
    const parts = own ? this.#run.parts : (reply?.childSessions().get(sessionId)?.parts ?? []);
    this.#vanished.set(key, prompt);
    for (const part of parts) this.seen(part);
  }

  /** A part is new or has changed. */
  seen(part: Part): void {
    if (this.#vanished.size === 0 || part.type !== 'tool' || !hasEnded(part)) return;
    const key = callKey(part);
    const prompt = this.#vanished.get(key);
    if (!prompt) return;
    this.#vanished.delete(key);
    // One that was refused, or aborted while it waited, is an error.
    if (part.status === 'completed') this.#judge(prompt, undefined);
  }

  /** Resolves once all that was told is judged; the run is stopped then, if it is to be. Never rejects. */
  judged(): Promise<void> {
    return this.#judging;
  }

  #judge(prompt: StoredPrompt, reply: Replied): void {
    if (this.#run.policy.answeredElsewhere === 'allow' || this.#isOurs(prompt, reply)) return;
    this.#judging = this.#judging.then(() => this.#askStore(prompt, reply));
  }

  /** The answer of a person may be stored and not read yet, when somebody else was faster with the same. */
  async #askStore(prompt: StoredPrompt, reply: Replied): Promise<void> {
    const { deps, turn } = this.#run;
    try {
      const stored = await this.#run.persist(() => deps.store.wishes(turn.id));
      for (const known of stored?.prompts ?? []) if (known.answer) this.given(known, known.answer);
    } catch (error) {
      // It ends for another reason already.
      if (this.#run.signal.aborted) return;
      deps.reporter.report(error, { action: 'turn.wishes', severity: 'warning', turnId: turn.id });
    }
    if (!this.#isOurs(prompt, reply)) this.#tell(prompt, reply);
  }

  #tell({ kind, requestId, sessionId }: Told, reply: Replied): void {
    const { deps, turn, policy } = this.#run;
    const stops = kind === 'permission' && policy.answeredElsewhere === 'stop';
    const error = new AnsweredElsewhereError(kind, requestId, sessionId, reply);
    deps.tracer.event('turn.answered_elsewhere');
    const severity = stops ? 'error' : 'warning';
    deps.reporter.report(error, { action: 'turn.answered_elsewhere', severity, turnId: turn.id });
    if (stops) this.#run.stop('answered-elsewhere', undefined, error);
  }

  #isOurs(prompt: StoredPrompt, reply: Replied): boolean {
    const answer = this.answerTo(prompt.requestId);
    if (prompt.kind === 'question') return answer?.kind === 'question';
    const said = answer?.kind === 'permission' && answer.reply !== 'reject' ? answer.reply : undefined;
    if (said !== undefined && (reply === undefined || reply === said)) return true;
    return (reply === undefined || reply === 'always') && this.#follows(prompt);
  }

  /** Upstream gives what waits in a session and is covered by an `always` that was said there (1.18.33). */
  #follows({ sessionId, request }: StoredPrompt): boolean {
    const patterns = textsIn(request.patterns);
    if (patterns.length > maxPatterns) return false;
    return Array.from(this.#given.values()).some(
      ({ prompt, answer }) =>
        answer.kind === 'permission' &&
        answer.reply === 'always' &&
        prompt.sessionId === sessionId &&
        prompt.request.permission === request.permission &&
        patterns.every((pattern) => rulesIn(prompt).some((rule) => matches(rule, pattern))),
    );
  }
}

/** Of one request: what is more is covered by nothing. */
const maxPatterns = 100;
const rulesIn = ({ request }: StoredPrompt) => textsIn(request.always).slice(0, maxPatterns);

const hasEnded = ({ status }: ToolPart) => status === 'completed' || status === 'error';

const textsIn = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((text) => typeof text === 'string') : [];
