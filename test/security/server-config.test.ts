import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { RunningWorker, TurnPolicy, Turns } from '../../src/index.ts';
import { guarded } from '../../src/submit/config-guard.ts';
import type { PermissionRule } from '../../src/turn/permission-rule.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';

/** What the server reads as its own settings is run with its rights: the agent must not be the one who writes it. */
let system: TestSystem;
let turns: Turns;
let worker: RunningWorker;
let directory: string;

const agent = '.opencode/agent/own.md';
const words = '---\ndescription: own\n---\nHello.';

beforeAll(async () => {
  system = await startSystem();
  directory = system.policy.directory();
  turns = await system.connect();
  const { policy } = system;
  const sha256 = createHash('sha256').update(words).digest('hex');
  const policies: Record<string, TurnPolicy> = {
    strict: policy,
    remove: { ...policy, serverConfigFiles: 'remove' },
    report: { ...policy, serverConfigFiles: 'report' },
    allow: { ...policy, serverConfigFiles: 'allow' },
    own: { ...policy, hostConfigFiles: [{ path: agent, sha256 }] },
    ownAndRemove: { ...policy, serverConfigFiles: 'remove', hostConfigFiles: [{ path: agent }] },
    pattern: {
      ...policy,
      permissions: [
        { permission: 'edit', pattern: '*', action: 'deny' },
        { permission: 'e*', pattern: '*', action: 'allow' },
      ],
    },
    folder: { ...policy, hostConfigFiles: [{ path: '.opencode/' }] },
  };
  worker = await turns.work({ policies });
}, 90_000);
afterAll(async () => {
  await worker?.stop();
  await system?.stop();
});
beforeEach(() => {
  rmSync(directory, { recursive: true, force: true });
  rmSync(path.join(system.sandboxRoot, 'opencode.json'), { force: true });
  mkdirSync(directory);
  system.reports.length = 0;
  system.respond(() => ({ text: ['Hello.'] }));
});

function put(name: string, text = '{}'): void {
  const file = path.join(directory, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
}

async function run(policy: string) {
  const before = system.model.turnRequests.length;
  const { stored } = await runTurn(turns, await newConversation(turns), 'go', policy);
  return { stored, asked: system.model.turnRequests.length - before };
}

const reported = () =>
  system.reports.map(({ context }) => context.action).filter((a) => a.includes('config'));
const refused = (...files: string[]) => ({
  asked: 0,
  stored: {
    status: 'error',
    error: { reason: 'server_config_files', detail: expect.stringContaining(JSON.stringify(files[0])) },
  },
});

describe('the file tools of an agent', () => {
  it.each(['opencode.json', 'opencode.jsonc', 'below/opencode.json', '.opencode/plugin/evil.js'])(
    'do not write %s, unless a policy lifts that',
    async (name) => {
      const input = { filePath: path.join(directory, name), content: '{}' };
      system.respond(({ step }) =>
        step === 0 ? { tools: [{ name: 'write', input }] } : { text: ['Done.'] },
      );
      const { stored } = await run('strict');
      expect(stored).toMatchObject({ status: 'completed', parts: [{ tool: 'write', status: 'error' }, {}] });
      expect(existsSync(input.filePath)).toBe(false);
      expect((await run('allow')).stored.status).toBe('completed');
      expect(existsSync(input.filePath)).toBe(true);
    },
  );
});

describe('rules that speak of edits by a pattern', () => {
  it('leave the settings denied', async () => {
    const write = (filePath: string) => ({ name: 'write', input: { filePath, content: '{}' } });
    system.respond(({ step }) =>
      step === 0 ? { tools: [write('opencode.json'), write('plain.txt')] } : { text: ['Done.'] },
    );
    expect((await run('pattern')).stored.status).toBe('completed');
    expect(readdirSync(directory)).toEqual(['plain.txt']);
  });

  const rule = (permission: string, action: PermissionRule['action'], pattern = '*') => ({
    permission,
    pattern,
    action,
  });
  it.each([
    [[rule('edit', 'deny')], false],
    [[rule('*', 'deny')], false],
    [[rule('ed?t', 'deny')], false],
    [[rule('edit', 'deny'), rule('e*', 'allow')], true],
    [[rule('edit', 'deny'), rule('*dit', 'allow', 'src/*')], true],
    [[rule('edit', 'deny'), rule(`e${'*'.repeat(300)}`, 'allow')], true],
    [[rule('*', 'allow'), rule('e*', 'deny')], false],
    [[rule('edit', 'deny', 'src/*')], true],
    [[], true],
  ])('%j: guarded by more rules: %s', (rules, more) => {
    expect(guarded(rules, { serverConfigFiles: 'refuse' }).length > rules.length).toBe(more);
  });
});

describe('settings of the server that no host put there', () => {
  it.each(['opencode.json', 'opencode.jsonc', '.opencode'])('%s: nothing is prompted', async (name) => {
    put(name === '.opencode' ? '.opencode/plugin/evil.js' : name);
    expect(await run('strict')).toMatchObject(refused(name));
  });

  it('a link counts, and leads nowhere', async () => {
    symlinkSync('/nowhere', path.join(directory, '.opencode'));
    expect(await run('strict')).toMatchObject(refused('.opencode'));
  });

  it('what lies above, where other conversations work too, counts', async () => {
    writeFileSync(path.join(system.sandboxRoot, 'opencode.json'), '{}');
    expect(await run('strict')).toMatchObject(refused('../opencode.json'));
  });

  it('written by a command of the agent: its next turn is refused', async () => {
    const input = { command: `echo '{}' > ${directory}/$(echo opencode).json`, description: 'test' };
    system.respond(({ step }) => (step === 0 ? { tools: [{ name: 'bash', input }] } : { text: ['Done.'] }));
    expect((await run('strict')).stored.status).toBe('completed');
    expect(await run('strict')).toMatchObject(refused('opencode.json'));
  });

  it('are moved aside, or told, by policy', async () => {
    put('opencode.json');
    expect((await run('report')).stored.status).toBe('completed');
    expect(existsSync(path.join(directory, 'opencode.json'))).toBe(true);
    expect(reported()).toEqual(['turn.config_found']);
    system.reports.length = 0;
    expect((await run('remove')).stored.status).toBe('completed');
    expect(readdirSync(directory)).toEqual([expect.stringMatching(/^opencode\.json\.removed-/)]);
    expect(reported()).toEqual(['turn.config_removed']);
  });
});

describe('settings of the host’s own', () => {
  it('are taken as they were given, and nothing beside them', async () => {
    put(agent, words);
    put('.opencode/plugin/evil.js', '');
    expect(await run('own')).toMatchObject(refused('.opencode/plugin/evil.js'));
    // A folder in between may be swapped: that is not for us to clean.
    expect(await run('ownAndRemove')).toMatchObject(refused('.opencode/plugin/evil.js'));
    rmSync(path.join(directory, '.opencode/plugin'), { recursive: true });
    put(agent, 'changed');
    expect(await run('own')).toMatchObject(refused(agent));
    put(agent, words);
    expect((await run('own')).stored.status).toBe('completed');
  });

  it('may be a whole folder', async () => {
    put('.opencode/anything.md', words);
    expect((await run('folder')).stored.status).toBe('completed');
  });
});
