const unreachable = 'The assistant’s server cannot be reached. Please try again in a few minutes.';
const refusedByServer = 'The assistant’s server refused the request. Please tell whoever runs it.';
const expensive = 'The answer was stopped because it had become too expensive.';
const storage = 'The answer could not be stored. Please try again.';
const interrupted = 'The answer was interrupted. Please try again.';
const busy = 'Too much was going on at once. Please try again.';

/**
 * What people read, by reason: the only place to change or add one. No word of the software that is behind it, and
 * what they can do, if anything.
 */
const table = {
  // the model and its provider
  provider_authentication: 'The AI provider refused the access key. Please tell whoever runs this service.',
  provider_not_configured:
    'No access key is set up for this AI provider. Please tell whoever runs this service.',
  unknown_model: 'The AI model is not available. Please tell whoever runs this service.',
  unknown_agent: 'The assistant is not set up. Please tell whoever runs this service.',
  quota_exceeded: 'The quota at the AI provider is used up. Please tell whoever runs this service.',
  rate_limited: 'The AI provider is getting too many requests. Please try again in a few minutes.',
  context_overflow: 'The conversation has become too long for the AI model. Please start a new one.',
  output_limit: 'The answer was longer than the AI model may write: its end is missing.',
  no_text: 'The assistant ended its work without a word.',
  content_filter: 'The AI provider’s content filter stopped the answer. Please put it in other words.',
  provider_unreachable: 'The AI provider cannot be reached. Please try again in a few minutes.',
  provider_failed: 'The AI provider has a problem. Please try again in a few minutes.',
  upstream_error: 'The AI model could not answer. Please try again.',
  empty_stream: 'The assistant gave no answer. Please try again.',

  // its run
  run_lost: interrupted,
  aborted_upstream: interrupted,
  foreign_prompt: 'The answer was interrupted by another message. Please try again.',
  answered_elsewhere:
    'The answer was stopped because something was allowed that nobody here has allowed. Please tell whoever runs this service.',
  cancel_unconfirmed: 'The answer was stopped; some of its work may go on for a while.',
  stream_idle: 'The assistant stopped in the middle of the answer. Please try again.',
  session_stale: 'The assistant did not begin to answer. Please try again.',
  session_not_found: 'The assistant has lost this conversation. Please try again.',
  missing_directory:
    'The folder that the assistant works in is missing. Please tell whoever runs this service.',
  server_config_files:
    'The folder that the assistant works in holds settings that nobody has approved. Please tell whoever runs this service.',
  unusable_directory: 'The assistant cannot work in its folder. Please tell whoever runs this service.',

  // limits
  deadline_turn_timeout_ms: 'The answer took too long and was stopped.',
  deadline_upstream_away_ms: unreachable,
  deadline_unknown_policy_ms:
    'No one was there who could answer this. Please tell whoever runs this service.',
  budget_max_cost: expensive,
  budget_max_tokens: expensive,
  budget_max_input_requests: 'The answer was stopped because it asked too many questions.',
  conversation_gone: 'The conversation was deleted.',
  turn_too_large: 'The answer is too large to be kept.',
  budget_max_steps: 'The answer was stopped because it needed too many steps.',
  budget_max_upstream_retries: 'The AI provider keeps failing. Please try again later.',
  budget_max_upstream_retry_delay_ms: 'The AI provider asks for a long pause. Please try again later.',
  no_progress: 'The assistant went round in a circle and was stopped.',

  // errors by their code
  upstream_connection: unreachable,
  upstream_timeout: unreachable,
  upstream_server: unreachable,
  upstream_foreign_answer: unreachable,
  upstream_redirect: unreachable,
  upstream_answer_too_large: refusedByServer,
  unsupported_server: refusedByServer,
  upstream_bad_request: refusedByServer,
  upstream_authentication: refusedByServer,
  invalid_input: 'Something in the message cannot be used.',
  invalid_config: 'The assistant is not set up correctly. Please tell whoever runs this service.',
  unknown_policy: 'The assistant is not set up correctly. Please tell whoever runs this service.',
  foreign_conversation: 'The assistant is not set up correctly. Please tell whoever runs this service.',
  call_aborted: interrupted,
  newer_version: 'The assistant is being updated. Please try again in a few minutes.',
  illegal_state: 'The assistant was just being stopped. Please try again.',
  not_found: 'Something that belongs to the message is missing.',
  unsafe_file: 'A file cannot be used.',
  corrupt_file: 'A file is stored wrongly and cannot be read.',
  file_too_large: 'A file is too large.',
  transform_failed: 'A file could not be shown.',
  service_unavailable: storage,
  conflict: storage,
  database_refused: storage,
  index_conflict: storage,
  ownership_lost: storage,
  lock_held: busy,
  lock_unavailable: busy,
  lock_lost: busy,
  turn_busy: busy,
  turn_started: 'The message was being answered already, or had been.',
  revision_mismatch: 'Somebody else has changed the message meanwhile. Please look at it again.',
  not_retryable: 'Only an answer that has failed or was stopped can be tried again.',
  corrupt_turn: 'The message is stored wrongly and cannot be answered.',
  policy_hook_failed: 'The assistant is not set up correctly. Please tell whoever runs this service.',
  policy_not_applied:
    'The assistant’s server did not take the rules for this answer. Please tell whoever runs this service.',
  turn_aborted: 'The answer was stopped.',
  turn_failed: 'Something went wrong. Please try again.',
  internal: 'Something went wrong. Please try again.',
};

/** Why a turn ended badly, for programs: the key of its sentence. A newer worker may write others. */
export type FailureReason = keyof typeof table;

export const sentences: Readonly<Record<string, string>> = table;
