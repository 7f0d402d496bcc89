import '../support/fuzz-seed.ts';
import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { applyEntry, emptyView, type TurnEntryBody, type TurnView } from '../../src/turn/entry.ts';

const apply = (entries: readonly unknown[]) =>
  entries.reduce<TurnView>((view, entry) => applyEntry(view, entry as TurnEntryBody), emptyView);

it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'unknown', '', 1, null])(
  'an entry of the type %p changes nothing',
  (type) => {
    expect(apply([{ type }])).toBe(emptyView);
  },
);

it.each([undefined, null, 'text', 7, [], {}])('%p is no entry and changes nothing', (entry) => {
  expect(apply([entry])).toBe(emptyView);
});

it.each<[string, unknown]>([
  ['a part without', { type: 'part' }],
  ['a text part without its text', { type: 'part', part: { id: 'p', type: 'text' } }],
  ['parts that are none', { type: 'parts', parts: [null] }],
  ['a text without an offset', { type: 'text', partId: 'p', delta: 'x' }],
  ['a snapshot without a view', { type: 'snapshot', view: {} }],
  ['a prompt that is none', { type: 'request', request: 'x' }],
])('%s changes nothing', (_name, entry) => expect(apply([entry])).toBe(emptyView));

it('nothing that a stream may hold makes it throw, or a view that later entries break on', () => {
  const types = [
    'progress',
    'part',
    'text',
    'parts',
    'prompt',
    'retry',
    'usage',
    'artifact',
    'snapshot',
    'finished',
  ];
  const field = fc.oneof(
    fc.anything({ maxDepth: 3 }),
    fc.record({ id: fc.constantFrom('p', 'q'), type: fc.constantFrom('text', 'tool'), text: fc.string() }),
  );
  const entry = fc.record(
    {
      type: fc.constantFrom(...types),
      part: field,
      parts: fc.oneof(field, fc.array(field, { maxLength: 3 })),
      partId: fc.constantFrom('p', 'q'),
      offset: fc.oneof(fc.integer(), fc.double()),
      delta: fc.oneof(fc.string(), field),
      prompt: field,
      artifact: field,
      usage: field,
      view: fc.oneof(field, fc.constant(emptyView)),
      status: fc.oneof(fc.string(), field),
      phase: fc.oneof(fc.string(), field),
    },
    { requiredKeys: ['type'] },
  );
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 12 }), (entries) => {
      const view = apply(entries);
      for (const list of [view.parts, view.requests, view.artifacts]) expect(Array.isArray(list)).toBe(true);
      expect(view.parts.every((part) => part.type === 'tool' || typeof part.text === 'string')).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});
