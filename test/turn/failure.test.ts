import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import * as errors from '../../src/errors.ts';
import { failureOfError, sentenceOf, turnFailure, upstreamFailure } from '../../src/turn/failure.ts';
import { sentences } from '../../src/turn/failure-sentences.ts';

describe('what upstream says', () => {
  it.each([
    ['unknown_agent', { message: 'Agent not found: "nope". Available agents: build, plan' }],
    ['unknown_model', { message: 'ProviderModelNotFoundError: Model not found: a/b. Did you mean: c?' }],
    [
      'unknown_model',
      { statusCode: 404, message: 'The model `gpt-9` does not exist or you do not have access' },
    ],
    ['provider_authentication', { name: 'ProviderAuthError', message: 'no' }],
    ['provider_authentication', { statusCode: 401, message: 'no' }],
    [
      'provider_authentication',
      { message: 'Anthropic API key is missing. Pass it using the apiKey parameter' },
    ],
    ['quota_exceeded', { statusCode: 402, message: 'Insufficient credits' }],
    [
      'quota_exceeded',
      { statusCode: 429, message: 'You exceeded your current quota, please check your plan' },
    ],
    ['quota_exceeded', { statusCode: 400, message: 'Your credit balance is too low' }],
    ['rate_limited', { statusCode: 429, message: 'slow down' }],
    ['rate_limited', { message: 'Rate limit reached' }],
    ['context_overflow', { name: 'ContextOverflowError', message: 'too long' }],
    ['context_overflow', { statusCode: 400, message: "This model's maximum context length is 10 tokens" }],
    ['content_filter', { name: 'ContentFilterError', message: 'blocked' }],
    ['content_filter', { statusCode: 400, message: 'The prompt triggered the content management policy' }],
    ['output_limit', { name: 'MessageOutputLengthError', message: 'MessageOutputLengthError' }],
    [
      'provider_unreachable',
      { message: 'Cannot connect to API: The socket connection was closed unexpectedly.' },
    ],
    ['provider_failed', { statusCode: 503, message: 'upstream' }],
    ['provider_failed', { message: 'Overloaded' }],
    ['missing_directory', { message: 'PlatformError: NotFound: FileSystem.realPath (/not/there)' }],
    ['upstream_error', { name: 'UnknownError', message: 'UnknownError: UnknownError' }],
    ['upstream_error', { message: '' }],
  ])('is %s: %j', (reason, said) => {
    const failure = upstreamFailure(said);
    expect(failure).toMatchObject({ reason, message: sentences[reason] });
    expect(failure.detail ?? '').toBe(said.message);
  });

  it('is kept bounded, without the stack, and apart from what people read', () => {
    const stack = '\n    at SessionPrompt.run (/$bunfs/root/chunk.js:1142:15339)'.repeat(11);
    const failure = upstreamFailure({ message: `Model not found: ${'x'.repeat(100_000)}${stack}` });
    expect(failure.message).toBe(sentences.unknown_model);
    expect(failure.detail).toHaveLength(1_000);
    expect(upstreamFailure({ message: `Model not found: a/b.${stack}` }).detail).toBe(
      'Model not found: a/b.',
    );
    const started = performance.now();
    upstreamFailure({ message: `model ${'model '.repeat(200_000)}` });
    // Not a figure to hold: a text that takes a pattern seconds would hang the worker.
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

describe('the sentences', () => {
  const codes = Object.values(errors).flatMap((one) => {
    if (typeof one !== 'function' || !(one.prototype instanceof errors.TurnsError)) return [];
    // What they are made of is of no matter here: a list of texts passes for a text and for a list.
    return [(Reflect.construct(one, [['a'], ['b'], 'c']) as errors.TurnsError).code];
  });

  it('are there for every error of the catalogue', () => {
    expect(codes.length).toBeGreaterThan(15);
    expect(codes.filter((code) => !Object.hasOwn(sentences, code))).toEqual([]);
  });

  it('are one or two plain ones each: no name of software, no code', () => {
    for (const sentence of Object.values(sentences)) {
      expect(sentence).toMatch(/^[A-Z][^_{}<>]{10,130}\.$/);
      expect(sentence).not.toMatch(/opencode|redis|mongo|upstream|session|token|undefined|http/i);
    }
  });

  it('have a neutral one for what is not in the table', () => {
    expect(sentenceOf('constructor')).toBe(sentences.internal);
    expect(turnFailure('something_new').message).toBe(sentences.internal);
    expect(failureOfError(new TypeError('x is not a function'))).toEqual({
      reason: 'internal',
      message: sentences.internal,
      detail: 'x is not a function',
    });
  });

  it('stand in the docs, every reason in its row', () => {
    const rows = readFileSync('docs/reasons.md', 'utf8').matchAll(/^\| `(\w+)` \| (.+?) \|/gm);
    expect(Object.fromEntries(Array.from(rows, ([, reason, sentence]) => [reason, sentence]))).toEqual(
      sentences,
    );
  });
});
