import { inspect } from 'node:util';
import { expect, it } from '@jest/globals';
import { mongoError } from '../../src/mongodb/errors.ts';

const secret = 'diagnosis';
const documents = { insertedDocs: [{ text: secret }], writeErrors: [{ err: { op: { text: secret } } }] };
const named = (name: string, message: string, more: object = {}) =>
  Object.assign(new Error(message), { name, ...more });
const printed = (error: unknown) => inspect(error, { depth: 20, showHidden: true, getters: true });

it.each<[string, Error]>([
  ['a batch that was cut off', named('MongoBulkWriteError', 'read ECONNRESET', documents)],
  ['a document that the server refuses', named('MongoServerError', 'no', { code: 121, ...documents })],
  ['an error that is not known', named('MongoServerError', 'no', { code: 4711, ...documents })],
  [
    'a duplicate key',
    named('MongoServerError', `E11000 duplicate key error dup key: { key: "${secret}" }`, {
      code: 11000,
      keyPattern: { key: 1 },
      keyValue: { key: secret },
    }),
  ],
  [
    'a refused cast',
    named(
      'CastError',
      `Cast to Number failed for value "${secret} (type string)" (type string) at path "age"`,
      {
        path: 'age',
        value: secret,
      },
    ),
  ],
  [
    'a cause with documents',
    named('MongoNetworkError', 'gone', { cause: named('Error', 'gone', documents) }),
  ],
  ['a message without end', named('MongoServerError', `no${' '.repeat(2_000)}${secret}`, { code: 121 })],
])('%s leaves without what was to be stored', (_what, error) => {
  const ours = mongoError(error);
  expect(printed(error)).toContain(secret);
  expect(ours).not.toBe(error);
  expect(printed(ours)).not.toContain(secret);
});

it('name, code, labels, and what the causes say, are kept', () => {
  const socket = named('Error', 'read ECONNRESET', { code: 'ECONNRESET' });
  const error = named('MongoNetworkError', 'lost', { code: 91, errorLabels: ['X'], cause: socket });
  expect(mongoError(error)).toMatchObject({
    code: 'service_unavailable',
    cause: { name: 'MongoNetworkError', code: 91, errorLabels: ['X'], cause: { code: 'ECONNRESET' } },
  });
});
