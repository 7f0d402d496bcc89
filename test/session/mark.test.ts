import { expect, it } from '@jest/globals';
import { markIn, metadataOf } from '../../src/session/mark.ts';

const mark = { prefix: 'p', conversation: 'c', mint: 'm' };

it.each([mark, { ...mark, collection: 'trips' }])('a mark is read as it was written: %j', (written) => {
  expect(markIn(metadataOf(written))).toEqual(written);
});

it.each([undefined, {}, { opencodeTurnsPrefix: 'p' }, { ...metadataOf(mark), opencodeTurnsMint: 3 }])(
  'somebody else made it: %j',
  (metadata) => {
    expect(markIn(metadata)).toBeUndefined();
  },
);
