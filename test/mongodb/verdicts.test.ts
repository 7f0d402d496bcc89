import { createRequire } from 'node:module';
import { expect, it } from '@jest/globals';
import mongoose from 'mongoose';
import { verdictOn } from '../../src/mongodb/verdicts.ts';

const driver = mongoose.mongo;
// Not among the driver's exports, and thrown all the same.
const load = createRequire(createRequire(import.meta.url).resolve('mongoose'));
const pool = load('mongodb/lib/cmap/errors.js') as object;

type ErrorClass = abstract new (...args: never[]) => Error;
const isClass = (value: unknown): value is ErrorClass =>
  typeof value === 'function' && value.prototype instanceof driver.MongoError;
const classes = [...Object.values(driver), ...Object.values(pool)].filter(isClass);

/** One of that class, however it is made. */
const one = ({ prototype }: ErrorClass): Error => Object.setPrototypeOf(new driver.MongoError(''), prototype);
const isOf = (found: ErrorClass, ...bases: readonly ErrorClass[]) =>
  bases.some((base) => found === base || found.prototype instanceof base);

it('whatever the driver says of the network, of its pool or of a server is judged, and passes', () => {
  const outside = classes.filter((found) =>
    isOf(found, driver.MongoNetworkError, driver.MongoSystemError, driver.MongoServerError),
  );
  expect(outside.length).toBeGreaterThan(8);
  const judged = outside.map((found) => [found.name, verdictOn(one(found))] as const);
  expect(judged.filter(([, verdict]) => verdict === undefined || verdict.permanent)).toEqual([]);
});

const ofThePool = [
  'PoolClearedOnNetworkError',
  'PoolClearedError',
  'WaitQueueTimeoutError',
  'PoolClosedError',
];

it.each(ofThePool)('%s of the driver is a database that is away', (name) => {
  const found = classes.find((each) => each.name === name);
  expect(found && verdictOn(one(found))).toMatchObject({ permanent: false });
});

it('a class that the table does not know is what it descends from, also of another copy of the driver', () => {
  class MongoNetworkError extends Error {}
  class OfANewerDriver extends MongoNetworkError {}
  expect(verdictOn(new OfANewerDriver('gone'))).toEqual({ effect: 'unknown', permanent: false });
  expect(verdictOn(new Error('ours'))).toBeUndefined();
});
