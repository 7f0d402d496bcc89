import { AnsweredElsewhereError } from '../errors.ts';
import { callKey } from '../reply/call-key.ts';
import type { Part, ToolPart } from '../reply/part.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { fits } from '../turn/check-answer.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { InputAnswer, InputRequest } from '../turn/stored-turn.ts';
import { matches } from '../turn/wildcard.ts';
import { UnheardCalls } from './unheard-calls.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'deps' | 'live' | 'own' | 'policy' | 'signal' | 'stopSwitch' | 'turn' | 'upstream'>;

/** What upstream was replied; undefined when nobody has told. */
type Replied = string | undefined;
type Told = Pick<InputRequest, 'kind' | 'sessionId'> & { readonly requestId: string | undefined };

/**
 * Tells an approval that no person of ours gave: none that is stored, by whichever owner it was sent, and none that
 * follows from an `always` of theirs. Whoever has the server's password can give one. What a policy makes of it is
 * `answeredElsewhere`. A refusal is nobody's approval, whoever gave it.
 */
export class Approvals {
  readonly #run: Run;
  readonly #sessionId: string;
  /** What people have answered, by request. */
  readonly #given = new Map<string, { readonly request: InputRequest; readonly answer: InputAnswer }>();
  /** Requests that upstream has no more without a word, by their call: whether it ran tells what was replied. */
  readonly #vanished = new Map<string, InputRequest>();
  /** What was asked and allowed while nobody listened. */
  readonly unheard: UnheardCalls;
  #judging = Promise.resolve();

  constructor(run: Run, ids: PromptIds, known: readonly InputRequest[], adopted: boolean) {
    this.#run = run;
    this.#sessionId = ids.sessionId;
    const judge = (work: () => Promise<void>) => {
      this.#judging = this.#judging.then(work);
    };
    const tell = () =>
      this.#tell({ kind: 'permission', requestId: undefined, sessionId: ids.sessionId }, undefined);
    this.unheard = new UnheardCalls({ run, ids, judge, tell }, adopted ? run.live.published : [], adopted);
    for (const request of known) if (request.answer) this.given(request, request.answer);
    // The owner before us may have died between storing what it heard and ending the turn for it.
    if (run.policy.answeredElsewhere !== 'stop') return;
    for (const request of known)
      if (request.kind === 'permission' && request.state === 'answered') this.#judge(request, undefined);
  }

  /** A person's answer is stored; one that does not fit is sent to nobody. */
  given(request: InputRequest, answer: InputAnswer): void {
    if (fits(request, answer)) this.#given.set(request.requestId, { request, answer });
  }

  answerTo(requestId: string): InputAnswer | undefined {
    return this.#given.get(requestId)?.answer;
  }

  /** Upstream tells what was replied. */
  replied(request: InputRequest, reply: Replied): void {
    if (reply !== 'reject') this.#judge(request, reply);
  }

  /** Upstream has the request no more and has not said why. A loop is asked about beside its call, which runs. */
  vanished(request: InputRequest): void {
    const { kind, details, sessionId, messageId, callId } = request;
    if (kind !== 'permission' || details.permission === 'doom_loop') return;
    if (messageId === undefined || callId === undefined) return;
    const { reply } = this.#run.live;
    const key = callKey({ messageId, callId });
    const own = sessionId === this.#sessionId || !reply?.childSessions().has(sessionId);
    const parts = own ? this.#run.live.parts : (reply?.childSessions().get(sessionId)?.parts ?? []);
    this.#vanished.set(key, request);
    for (const part of parts) this.seen(part);
  }

  /** A part is new or has changed. */
  seen(part: Part): void {
    if (this.#vanished.size === 0 || part.type !== 'tool' || !hasEnded(part)) return;
    const key = callKey(part);
    const request = this.#vanished.get(key);
    if (!request) return;
    this.#vanished.delete(key);
    // One that was refused, or aborted while it waited, is an error.
    if (part.status === 'completed') this.#judge(request, undefined);
  }

  /** Resolves once all that was told is judged; the run is stopped then, if it is to be. Never rejects. */
  judged(): Promise<void> {
    return this.#judging;
  }

  #judge(request: InputRequest, reply: Replied): void {
    if (this.#run.policy.answeredElsewhere === 'allow' || this.#isOurs(request, reply)) return;
    this.#judging = this.#judging.then(() => this.#askStore(request, reply));
  }

  /** The answer of a person may be stored and not read yet, when somebody else was faster with the same. */
  async #askStore(request: InputRequest, reply: Replied): Promise<void> {
    const { deps, turn } = this.#run;
    try {
      const stored = await this.#run.own.persist(() => deps.store.control(turn.id));
      for (const known of stored?.requests ?? []) if (known.answer) this.given(known, known.answer);
    } catch (error) {
      // It ends for another reason already.
      if (this.#run.signal.aborted) return;
      deps.reporter.report(error, { action: 'turn.control', severity: 'warning', turnId: turn.id });
    }
    if (!this.#isOurs(request, reply)) this.#tell(request, reply);
  }

  #tell({ kind, requestId, sessionId }: Told, reply: Replied): void {
    const { deps, turn, policy } = this.#run;
    const stops = kind === 'permission' && policy.answeredElsewhere === 'stop';
    const error = new AnsweredElsewhereError(kind, requestId, sessionId, reply);
    deps.tracer.event('turn.answered_elsewhere');
    const severity = stops ? 'error' : 'warning';
    deps.reporter.report(error, { action: 'turn.answered_elsewhere', severity, turnId: turn.id });
    if (stops) this.#run.stopSwitch.stop('answered-elsewhere', undefined, error);
  }

  #isOurs(request: InputRequest, reply: Replied): boolean {
    const answer = this.answerTo(request.requestId);
    if (request.kind === 'question') return answer?.kind === 'question';
    const said = answer?.kind === 'permission' && answer.reply !== 'reject' ? answer.reply : undefined;
    if (said !== undefined && (reply === undefined || reply === said)) return true;
    return (reply === undefined || reply === 'always') && this.#follows(request);
  }

  /** Upstream gives what waits in a session and is covered by an `always` that was said there (1.18.33). */
  #follows({ sessionId, details }: InputRequest): boolean {
    const patterns = textsIn(details.patterns);
    if (patterns.length > maxPatterns) return false;
    return Array.from(this.#given.values()).some(
      ({ request, answer }) =>
        answer.kind === 'permission' &&
        answer.reply === 'always' &&
        request.sessionId === sessionId &&
        request.details.permission === details.permission &&
        patterns.every((pattern) => rulesIn(request).some((rule) => matches(rule, pattern))),
    );
  }
}

/** Of one request: what is more is covered by nothing. */
const maxPatterns = 100;
const rulesIn = ({ details }: InputRequest) => textsIn(details.always).slice(0, maxPatterns);

const hasEnded = ({ status }: ToolPart) => status === 'completed' || status === 'error';

const textsIn = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((text) => typeof text === 'string') : [];
