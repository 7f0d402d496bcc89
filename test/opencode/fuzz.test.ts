import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { TurnsError } from '../../src/errors.ts';
import { type Answer, meaningOf, problemOf, type RouteKind } from '../../src/opencode/answer.ts';
import { findingOf } from '../../src/opencode/probe.ts';
import { sseReader } from '../../src/opencode/sse.ts';
import '../support/fuzz-seed.ts';

const types = ['application/json', 'application/json;x', 'text/html', 'text/plain', 'text/event-stream', ''];
const bodies = fc.oneof(
  fc.uint8Array({ maxLength: 2_000 }),
  fc.json().map((text) => Buffer.from(text)),
  fc
    .record({ name: fc.anything(), _tag: fc.anything(), version: fc.anything(), healthy: fc.anything() })
    .map((value) =>
      Buffer.from(JSON.stringify(value, (_key, one) => (typeof one === 'bigint' ? 0 : one)) ?? ''),
    ),
);
const answers: fc.Arbitrary<Answer> = fc.record({
  status: fc.integer({ min: 100, max: 599 }),
  contentType: fc.oneof(fc.constantFrom(...types), fc.string({ maxLength: 300, unit: 'binary' })),
  body: bodies,
  retryAfter: fc.option(fc.string({ maxLength: 50 }), { nil: undefined }),
  location: fc.option(fc.oneof(fc.webUrl(), fc.string()), { nil: undefined }),
});

it('whatever answers has a meaning, and what is no answer a typed error of one bounded, harmless line', () => {
  fc.assert(
    fc.property(answers, fc.constantFrom<RouteKind>('json', 'file', 'page', 'events'), (answer, route) => {
      const { meaning } = meaningOf(answer, route);
      if (meaning === 'ok') return;
      const problem = problemOf(meaning, answer, { method: 'GET', path: '/x' });
      expect(problem).toBeInstanceOf(TurnsError);
      expect(problem.message.length).toBeLessThan(5_000);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may be there
      expect(problem.message).not.toMatch(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/);
    }),
    { numRuns: 2_000 },
  );
});

it('whatever answers the questions for a version, it is a finding or none', () => {
  fc.assert(
    fc.property(fc.array(answers, { minLength: 1, maxLength: 3 }), (all) => {
      const finding = findingOf(all);
      if (finding && 'version' in finding) expect(finding.version).toMatch(/^[\w.+-]{1,60}$/);
    }),
    { numRuns: 2_000 },
  );
});

it('events come out whole wherever the bytes are cut and however lines end, whatever stands between them', () => {
  const noise = fc.array(fc.constantFrom(': x', 'event: y', 'id: 1', 'retry: soon', 'nonsense', ':'), {
    maxLength: 3,
  });
  const event = fc.tuple(noise, fc.json());
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 8 }),
      fc.constantFrom('\n', '\r', '\r\n'),
      fc.array(fc.nat(60), { minLength: 1, maxLength: 20 }),
      (events, end, cuts) => {
        const lines = events.map(([before, data]) => [...before, `data: ${data}`, '', ''].join(end));
        // A CR at the very end may be half of a CRLF: what follows tells.
        const bytes = Buffer.from(`${lines.join('')}: end${end}`);
        const told: string[] = [];
        const reader = sseReader((data) => told.push(data));
        for (let at = 0, cut = 0; at < bytes.length; cut += 1) {
          const size = (cuts[cut % cuts.length] ?? 0) + 1;
          reader.push(bytes.subarray(at, at + size));
          at += size;
        }
        expect(told).toEqual(events.map(([, data]) => data));
      },
    ),
  );
});

it('no bytes make the reader of events throw, below its bound', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (pieces) => {
      const reader = sseReader(() => undefined);
      for (const piece of pieces) reader.push(piece);
    }),
  );
});
