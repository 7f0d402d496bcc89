import { describe, expect, it } from '@jest/globals';
import { nearestName } from '../../src/checking/nearest-name.ts';
import { InvalidConfigError, Transform } from '../../src/index.ts';
import { directoryBelow } from '../../src/run/policy-hooks.ts';
import { serverPermissions } from '../../src/turn/check-permission-rules.ts';
import { compilePolicy } from '../../src/turn/policy.ts';

/** What a host may have written, types or not. */
const compile = (policy: unknown) => () => compilePolicy('strict', policy as never);
const settingOf = (fn: () => unknown) => {
  try {
    fn();
  } catch (error) {
    return (error as InvalidConfigError).setting;
  }
};
const rule = (permission: string, action = 'deny') => ({
  permissions: [{ permission, pattern: '*', action }],
});
const transform = () =>
  new Transform({
    sourceFilename: 'a.json',
    destinationFilename: 'a.html',
    contentType: 'text/html',
    render: () => ({ content: '' }),
  });

describe('a policy is refused at registration, by the name of the field', () => {
  it.each<[string, unknown, string, RegExp]>([
    ['a key in the singular', { permission: [] }, 'permission', /did you mean "permissions"/],
    ['another one', { limit: {} }, 'limit', /did you mean "limits"/],
    ['a swapped letter', { modle: 'a/b' }, 'modle', /did you mean "model"/],
    ['a key that is like none', { colour: 'red' }, 'colour', /known: agent, .*permissions/],
    ['an action', rule('bash', 'denied'), 'permissions.0.action', /not "denied"/],
    [
      'a rule without a pattern',
      { permissions: [{ permission: 'bash', action: 'deny' }] },
      'permissions.0.pattern',
      /string/,
    ],
    [
      'a key of a rule',
      { permissions: [{ ...rule('bash').permissions[0], patern: '*' }] },
      'permissions.0.patern',
      /did you mean "pattern"/,
    ],
    ['rules that are none', { permissions: 'deny' }, 'permissions', /list or a function/],
    ['a permission', rule('bahs'), 'permissions.0.permission', /no permission "bahs"; did you mean "bash"/],
    [
      'one that guards nothing',
      rule('write'),
      'permissions.0.permission',
      /"edit" is the permission of write/,
    ],
    ['a pattern that fits nothing', rule('bsh*'), 'permissions.0.permission', /no permission "bsh\*"/],
    ['an exact tool of an MCP server', rule('exa_search'), 'permissions.0.permission', /knownPermissions/],
    ['defaultAttach', { defaultAttach: 'nothing' }, 'defaultAttach', /"all" or "none", not "nothing"/],
    ['onUpstreamLost', { onUpstreamLost: 'rerurn' }, 'onUpstreamLost', /did you mean "rerun"/],
    ['a number for an agent', { agent: 5 }, 'agent', /string, not 5/],
    ['an empty agent', { agent: '' }, 'agent', /not be empty/],
    ['a model without a provider', { model: 'gpt-5' }, 'model', /provider\/model/],
    ['a system that is no text', { system: ['be nice'] }, 'system', /text or a function/],
    ['a directory that is no function', { directory: '/srv' }, 'directory', /function/],
    ['a relative root', { directoryRoot: 'srv' }, 'directoryRoot', /absolute/],
    ['a hook that is none', { onTurnFinished: true }, 'onTurnFinished', /function/],
    ['an unknown limit', { limits: { maxStep: 3 } }, 'limits.maxStep', /did you mean "maxSteps"/],
    ['a limit in words', { limits: { maxSteps: '3' } }, 'limits.maxSteps', /number/],
    ['a negative limit', { limits: { maxCost: -1 } }, 'limits.maxCost', /from 0 to/],
    ['no number', { limits: { maxCost: Number.NaN } }, 'limits.maxCost', /from 0 to/],
    ['an endless time', { limits: { turnTimeoutMs: Infinity } }, 'limits.turnTimeoutMs', /whole number from/],
    [
      'a limit that another one hides',
      { limits: { idleTimeoutMs: 9_000, turnTimeoutMs: 5_000 } },
      'limits.idleTimeoutMs',
      /never reached/,
    ],
    ['limits that are none', { limits: 5 }, 'limits', /object/],
    ['a transform by hand', { transforms: [{ render: () => '' }] }, 'transforms', /new Transform/],
    ['two of one name', { transforms: [transform(), transform()] }, 'transforms', /two render/],
  ])('%s', (_, policy, field, problem) => {
    expect(compile(policy)).toThrow(InvalidConfigError);
    expect(compile(policy)).toThrow(problem);
    expect(settingOf(compile(policy))).toBe(`policies.strict.${field}`);
  });

  it.each([undefined, null, 5, 'strict', []])('a policy that is %p', (policy) => {
    expect(compile(policy)).toThrow(/policies\.strict: must be of type object/);
  });

  it('what a policy may say passes', () => {
    const permissions = [...serverPermissions, '*', 'web*', 'exa_*', 'linear_issue'].map((permission) => ({
      permission,
      pattern: '*',
      action: 'ask' as const,
    }));
    const policy = {
      agent: 'build',
      model: 'openrouter/meta/llama',
      system: 'Be brief.',
      permissions,
      knownPermissions: ['linear_issue'],
      directory: () => '/srv/a',
      directoryRoot: '/srv',
      limits: { maxCost: Number.POSITIVE_INFINITY, idleTimeoutMs: 1_000, turnTimeoutMs: 1_000 },
      transforms: [transform()],
      defaultAttach: 'all' as const,
    };
    expect(compilePolicy('fine', policy)).toMatchObject({
      ...policy,
      name: 'fine',
      model: { modelID: 'meta/llama' },
    });
  });
});

it('the name that was meant is the nearest one, or none', () => {
  const known = ['permissions', 'permit', 'model', 'limits'];
  expect(
    ['Permissons', 'modle', 'mdel', 'limit', 'x', 'permit', 'colour'].map((name) => nearestName(name, known)),
  ).toEqual(['permissions', 'model', 'model', 'limits', undefined, 'permit', undefined]);
  expect(nearestName('p'.repeat(100_000), known)).toBeUndefined();
});

describe('a directory', () => {
  it.each([
    ['/srv/box/a', '/srv/box/a'],
    ['/srv/box/a/', '/srv/box/a'],
    ['/srv/box/a/../b/./c', '/srv/box/b/c'],
    ['/srv/box/..a', '/srv/box/..a'],
  ])('%s is below its root', (given, normal) => expect(directoryBelow('/srv/box', given)).toBe(normal));

  it.each([
    '',
    '.',
    'a',
    '../box/a',
    '/srv/box',
    '/srv/box/',
    '/srv/box/a/..',
    '/srv/box/../other',
    '/srv/box-1/a',
    '/',
    '/srv/box/a\0',
    '/srv/box/a\ud800',
    undefined,
    null,
    5,
    {},
  ])('%p is refused', (given) =>
    expect(() => directoryBelow('/srv/box', given)).toThrow(/must answer|not below/),
  );

  it('a root of / allows every absolute one', () => {
    expect(directoryBelow('/', '/anywhere/else')).toBe('/anywhere/else');
    expect(() => directoryBelow('/', '/')).toThrow(/not below/);
    expect(() => directoryBelow('/', 'else')).toThrow(/absolute/);
  });
});
