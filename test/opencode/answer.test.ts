import { expect, it } from '@jest/globals';
import { consoleReporter } from '../../src/instrumentation/error-reporter.ts';
import { type Meaning, meaningOf, problemOf, type RouteKind } from '../../src/opencode/answer.ts';

const json = 'application/json';
const ownNotFound = '{"name":"NotFoundError","data":{"message":"Session not found: ses_x"}}';
const ownQuestion = '{"_tag":"QuestionNotFoundError","requestID":"que_x","message":"gone"}';
const ownBad = '{"name":"BadRequest","data":{"message":"Missing key","kind":"Payload"}}';
const ownError = '{"name":"UnknownError","data":{"message":"Unexpected","ref":"err_1"}}';
const page = '<!doctype html><p>proxy</p>';

const answerOf = (status: number, contentType: string, body: string, more: object = {}) => ({
  status,
  contentType,
  body: Buffer.from(body),
  ...more,
});

it.each<[number, string, string, RouteKind, Meaning]>([
  [200, json, '{}', 'json', 'ok'],
  [200, 'Application/JSON; charset=utf-8', 'true', 'json', 'ok'],
  [204, '', '', 'json', 'ok'],
  [200, '', '', 'json', 'foreign'],
  [200, json, '', 'json', 'foreign'],
  [200, json, '{"cut', 'json', 'foreign'],
  [200, 'text/html', page, 'json', 'foreign'],
  [200, 'text/plain', '{}', 'json', 'foreign'],
  [206, json, '{}', 'json', 'foreign'],
  [404, json, ownNotFound, 'json', 'absent'],
  [404, json, ownQuestion, 'json', 'absent'],
  [404, json, '{"error":"no such service"}', 'json', 'foreign'],
  [404, 'text/plain', ownNotFound, 'json', 'foreign'],
  [404, 'text/plain', 'default backend - 404', 'json', 'foreign'],
  [404, 'text/html', page, 'json', 'foreign'],
  [404, '', '', 'json', 'foreign'],
  [405, '', '', 'json', 'foreign'],
  [403, 'text/html', page, 'json', 'foreign'],
  [413, 'text/html', page, 'json', 'foreign'],
  [400, json, ownBad, 'json', 'invalid'],
  [400, json, '{"_tag":"BadRequest"}', 'json', 'invalid'],
  [400, 'text/html', page, 'json', 'foreign'],
  [409, json, '{"_tag":"SessionBusyError","message":"busy"}', 'json', 'invalid'],
  [401, '', '', 'json', 'refused'],
  [401, 'text/html', page, 'json', 'refused'],
  [408, '', '', 'json', 'later'],
  [425, '', '', 'json', 'later'],
  [429, 'text/html', page, 'json', 'later'],
  [500, json, ownError, 'json', 'broken'],
  [502, 'text/html', page, 'json', 'broken'],
  [301, '', '', 'json', 'redirect'],
  [307, 'text/html', page, 'json', 'redirect'],
  [101, '', '', 'json', 'foreign'],
  [200, 'text/plain', '', 'file', 'ok'],
  [200, json, '{"name":"NotFoundError"}', 'file', 'ok'],
  [200, 'text/html', page, 'file', 'foreign'],
  [200, 'text/html', page, 'page', 'ok'],
  [500, json, ownError, 'file', 'absent'],
  [500, 'text/html', page, 'file', 'broken'],
  [404, json, '{"_tag":"FileNotFoundError","message":"x"}', 'file', 'absent'],
  [200, 'text/event-stream', '', 'events', 'ok'],
  [200, 'text/html', '', 'events', 'foreign'],
  [200, json, '', 'events', 'foreign'],
  [401, '', '', 'events', 'refused'],
])('%i %s %s on a route of %s: %s', (status, contentType, body, route, meaning) => {
  expect(meaningOf(answerOf(status, contentType, body), route).meaning).toBe(meaning);
});

const call = { method: 'GET', path: '/x' };

it('the time that a server asks for is told, as seconds and as a date', () => {
  const facts = (retryAfter: string, status = 429) =>
    (
      problemOf('later', answerOf(status, '', '', { retryAfter }), call) as {
        facts?: { retryAfterMs?: number };
      }
    ).facts?.retryAfterMs;
  expect(facts('7')).toBe(7_000);
  expect(facts(new Date(Date.now() - 5_000).toUTCString())).toBe(0);
  expect(facts(new Date(Date.now() + 3_600_000).toUTCString())).toBeGreaterThan(3_000_000);
  expect(facts('soon')).toBeUndefined();
  expect(facts('-1')).toBeUndefined();
});

it("a redirect is told with the target's origin, and without its secrets", () => {
  const location = 'https://user:secret@login.example/cb?token=secret#secret';
  const problem = problemOf('redirect', answerOf(307, 'text/html', 'secret', { location }), call);
  expect(problem).toMatchObject({ code: 'upstream_redirect', facts: { status: 307 } });
  expect(problem.message).toContain('https://login.example that is not followed');
  expect(JSON.stringify([problem, problem.message])).not.toContain('secret');
});

it('nothing that a server sends moves a terminal or makes a line of a log', () => {
  const evil = 'a\nERROR forged\r\u001b[2J\u001b]0;title\u0007\u009b31m\u202egnp.exe\u2028b';
  const printed: string[] = [];
  const before = console.error;
  console.error = (line: string) => printed.push(line);
  try {
    for (const meaning of ['broken', 'invalid', 'refused', 'later'] as const) {
      const problem = problemOf(meaning, answerOf(500, 'text/html', evil), call);
      expect(problem.message).toContain('a\\nERROR forged\\r\\u001b[2J');
      consoleReporter.report(problem, { action: 'test' });
    }
    consoleReporter.report(problemOf('foreign', answerOf(200, evil, ''), call), { action: 'test' });
    // A model's failure, a session's title, a file's name: whatever is told beside it.
    consoleReporter.report(new Error(evil), { action: 'test', file: evil });
  } finally {
    console.error = before;
  }
  expect(printed).toHaveLength(6);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may be there
  for (const line of printed) expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e]/);
});
