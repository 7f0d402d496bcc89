/**
 * Every span and event that this library emits. This table is the contract for dashboards; `docs/telemetry.md`
 * shows the same rows and a test compares them. What may stand in their attributes: `attributes.ts`.
 */
export const spans = {
  'turn.request': 'A web request that enqueues a turn and follows it (demo and examples).',
  'turn.enqueue': 'A web app stores a turn and adds its job.',
  'turn.process': 'A worker takes the job and carries the turn to an outcome.',
  'session.mint': 'An upstream session is created and stored under the conversation lock.',
  'turn.prompt': 'The prompt is posted, or found upstream from an earlier try.',
  'turn.stream': 'Events are followed until the exchange is authoritative.',
  'turn.finalize': 'The polled exchange is merged and the terminal state is written.',
  'turn.artifacts': 'Files of the turn are attached to the assistant message.',
  'opencode.request': 'One HTTP call to the OpenCode server.',
} as const;
export type SpanName = keyof typeof spans;

export const events = {
  'opencode.response.started': 'The first event of the reply arrived.',
  'opencode.session.created': 'A session was minted and stored.',
  'opencode.session.recreated_with_resend': 'The session was gone; the prompt went to a new one.',
  'opencode.session.foreign_prompt':
    "Somebody else prompted the session; what answers that is not the turn's.",
  'opencode.stream.completed': 'The session is idle and its exchange is final.',
  'opencode.stream.interrupted': 'The event stream broke; the truth is read again.',
  'opencode.response.waiting_for_final_text': 'Idle came before the final message; polling goes on.',
  'opencode.response.recovered_from_exchange': 'The stream gave nothing; the polled exchange did.',
  'opencode.response.upstream_error': 'The model or the server ended the turn with an error.',
  'opencode.response.error': 'The turn ended with an error of ours.',
  'opencode.callback.error': 'A hook, observer or reporter of the host threw.',
  'opencode.artifacts.dropped': 'Files were left out; the attributes say how many and why.',
  'opencode.turn.finished': 'The turn reached its outcome.',
  'turn.adopted': 'A worker joined a turn that another one had started.',
  'session.rules_changed':
    'The session was told the rules of this turn, which are not those of the turn before.',
  'session.replaced_for_directory':
    'A session that works in another directory than the policy names for this turn was replaced by a new one.',
  'session.replaced_for_rules':
    'A session whose rules could not become those of the turn was replaced by a new one.',
  'session.replaced_for_server':
    'A session on a server that is not configured any more was replaced by a new one.',
  'turn.answered_elsewhere': 'A question or a permission was answered by nobody of ours.',
  'turn.rerun': 'The server lost the run; the same message was prompted again.',
  'turn.stop_unconfirmed': 'A run was aborted and not seen to end; the sweeper goes on aborting it.',
  'turn.held': 'The conversation is held; the job waits without a slot.',
  'turn.delayed': 'An earlier turn of the conversation is not finished; the job waits without a slot.',
} as const;
export type EventName = keyof typeof events;
