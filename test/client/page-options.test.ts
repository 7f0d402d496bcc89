import { describe, expect, it } from '@jest/globals';
import { checkMessagePage } from '../../src/client/page-options.ts';
import { InvalidInputError } from '../../src/errors.ts';

describe('a page of messages', () => {
  it('has 50 messages by default, the newest', () => expect(checkMessagePage({})).toEqual({ limit: 50 }));

  it.each<[unknown, string, RegExp]>([
    [{ limt: 5 }, 'limt', /did you mean "limit"/],
    [{ limit: 0 }, 'limit', /whole number from 1 to 200/],
    [{ limit: 201 }, 'limit', /from 1 to 200/],
    [{ before: -1 }, 'before', /whole number/],
    [{ before: '5' }, 'before', /whole number|of type/],
    [{ after: 1.5 }, 'after', /whole number/],
    [{ after: { $gt: 0 } }, 'after', /whole number|of type/],
    [{ before: 3, after: 5 }, 'after', /together with "before"/],
    [null, 'options', /object/],
  ])('refuses %j, naming %s', (options, field, problem) => {
    const refusal = (() => {
      try {
        return checkMessagePage(options as never);
      } catch (error) {
        return error;
      }
    })();
    expect(refusal).toBeInstanceOf(InvalidInputError);
    expect(refusal).toMatchObject({ field, message: expect.stringMatching(problem) });
  });

  it('refuses options whose getter throws', () => {
    const options = Object.defineProperty({}, 'limit', {
      enumerable: true,
      get: () => {
        throw new Error('no');
      },
    });
    expect(() => checkMessagePage(options)).toThrow(/getters throws/);
  });
});
