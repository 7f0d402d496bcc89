import mongoose from 'mongoose';
import { versions } from '../turn/versions.ts';

const { trusted } = mongoose;

/** Matches messages that this release knows: in every write that no epoch fences, so that it meets no newer one. */
export const readableVersion = (): Record<string, unknown> => ({
  schemaVersion: trusted({ $not: { $gt: versions.turn } }),
});
