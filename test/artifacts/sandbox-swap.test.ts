import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { HostileBox, hostileCases, secret } from '../support/hostile-box.ts';
import { type BeforeCall, interposedFs, interposing } from '../support/interposed-fs.ts';

// The code under test runs on the real disk; the test is called before each of its calls, and swaps there.
jest.unstable_mockModule('node:fs/promises', () => interposedFs);
const { Sandbox } = await import('../../src/artifacts/sandbox.ts');
const { FileTooLargeError, UnsafeFileError } = await import('../../src/errors.ts');

const cases = hostileCases('sandbox, swapped at every call');
let box: HostileBox;
beforeEach(() => {
  box = new HostileBox();
});
afterEach(() => box.remove());

const mine = 'what the agent wrote';

interface Swap {
  readonly swap: () => void;
  readonly restore: () => void;
}

/** Puts something else in place of a path, and the first thing back. */
function replacing(victim: () => string, put: (path: string) => void): Swap {
  return {
    swap() {
      fs.renameSync(victim(), aside());
      put(victim());
    },
    restore() {
      fs.rmSync(victim(), { recursive: true, force: true });
      fs.renameSync(aside(), victim());
    },
  };
}

const aside = () => path.join(box.home, 'aside');
const file = () => box.at('sub', 'a.txt');
const folder = () => box.at('sub');
const outside = () => path.join(box.outside, 'a.txt');

const swaps = {
  'the file by a symlink': replacing(file, (at) => fs.symlinkSync(outside(), at)),
  'the file by a hard link': replacing(file, (at) => fs.linkSync(outside(), at)),
  'the file by a FIFO': replacing(file, (at) => execFileSync('mkfifo', [at])),
  'the file by a folder': replacing(file, (at) => fs.mkdirSync(at)),
  'the file by nothing': replacing(file, () => undefined),
  'its folder by a symlink': replacing(folder, (at) => fs.symlinkSync(box.outside, at)),
  'its folder by a symlink to where it went': replacing(folder, (at) => fs.symlinkSync(aside(), at)),
  'the sandbox by a symlink': replacing(
    () => box.path,
    (at) => {
      fs.mkdirSync(path.join(box.outside, 'sub'), { recursive: true });
      fs.writeFileSync(path.join(box.outside, 'sub', 'a.txt'), secret);
      fs.symlinkSync(box.outside, at);
    },
  ),
} satisfies Record<string, Swap>;

/** Says of each call, from 1, whether it meets the swap. */
type Schedule = (call: number) => boolean;

/** Every window: swapped before one call and put back before a later one, or never. */
function windows(calls: number): Schedule[] {
  const numbers = Array.from({ length: calls }, (_, at) => at + 1);
  return numbers.flatMap((from) =>
    [...numbers, calls + 1]
      .filter((to) => to > from)
      .map((to) => (call: number) => call >= from && call < to),
  );
}

/** Every pattern of swaps and returns there is. */
function patterns(calls: number): Schedule[] {
  return Array.from(
    { length: 2 ** calls - 1 },
    (_, at) => (call: number) => (((at + 1) >> (call - 1)) & 1) === 1,
  );
}

const noProc: BeforeCall = (name, [target]) => {
  if (name === 'readlink' && String(target).startsWith('/proc/'))
    throw Object.assign(new Error('no /proc'), { code: 'ENOENT' });
};

/** What one scan and read give, and in how many calls. */
async function readSwapped({ swap, restore }: Swap, isSwappedAt: Schedule, also: BeforeCall) {
  let calls = 0;
  let isSwapped = false;
  const set = (wanted: boolean) => {
    if (wanted !== isSwapped) (wanted ? swap : restore)();
    isSwapped = wanted;
  };
  const outcome = await interposing(
    (name, args) => {
      calls += 1;
      set(isSwappedAt(calls));
      also(name, args);
    },
    async () => {
      const found = await new Sandbox(box.path).fileAt('sub/a.txt');
      return found === undefined ? 'nothing' : (await found.content()).toString();
    },
  ).catch((error: unknown) => error);
  set(false);
  return { outcome, calls };
}

async function expectNothingOut(swap: Swap, schedules: typeof windows, also: BeforeCall): Promise<void> {
  fs.writeFileSync(file(), mine);
  const { outcome, calls } = await readSwapped(swap, () => false, also);
  expect(outcome).toBe(mine);
  expect(calls).toBeGreaterThanOrEqual(9);
  const outcomes = new Set<unknown>();
  for (const schedule of schedules(calls)) {
    cases.tried();
    const { outcome } = await readSwapped(swap, schedule, also);
    outcomes.add(outcome instanceof UnsafeFileError ? 'refused' : outcome);
  }
  expect([mine, 'nothing', 'refused']).toEqual(expect.arrayContaining([...outcomes]));
  expect(outcomes).toContain('refused');
  expect((await readSwapped(swap, () => false, also)).outcome).toBe(mine);
}

describe('a swap at any call lets no byte out', () => {
  it.each(Object.entries(swaps))('%s', (_, swap) => expectNothingOut(swap, windows, () => undefined));
  it.each(Object.entries(swaps))('%s, on a system without /proc', (_, swap) =>
    expectNothingOut(swap, windows, noProc),
  );
  it.each(['its folder by a symlink', 'the sandbox by a symlink'] as const)('%s, in every pattern', (name) =>
    expectNothingOut(swaps[name], patterns, () => undefined),
  );
});

describe('between the scan and the read', () => {
  it('a file that was replaced by another is refused', async () => {
    cases.tried();
    box.write('a.txt', mine);
    const found = await new Sandbox(box.path).file('a.txt');
    fs.renameSync(box.write('b.txt', 'other'), box.at('a.txt'));
    await expect(found?.content()).rejects.toMatchObject({ rule: 'it was replaced after it was looked at' });
  });

  it('a file that got a second name is refused', async () => {
    cases.tried();
    const found = await new Sandbox(box.path).file(path.basename(box.write('a.txt')));
    fs.linkSync(box.at('a.txt'), path.join(box.outside, 'b.txt'));
    await expect(found?.content()).rejects.toMatchObject({ rule: 'it has 2 hard links' });
  });

  it('a file that grew past the cap is refused, and one that changed is read as it is', async () => {
    cases.tried();
    box.write('a.txt', mine);
    const found = await new Sandbox(box.path, { maxFileBytes: 100 }).file('a.txt');
    fs.appendFileSync(box.at('a.txt'), ', and more');
    expect((await found?.content())?.toString()).toBe(`${mine}, and more`);
    fs.appendFileSync(box.at('a.txt'), 'x'.repeat(100));
    await expect(found?.content()).rejects.toThrow(FileTooLargeError);
  });

  it('a file in a listing is checked like any other', async () => {
    cases.tried();
    box.write('a.txt', mine);
    const [found] = (await new Sandbox(box.path).files()).files;
    fs.rmSync(box.at('a.txt'));
    fs.symlinkSync(outside(), box.at('a.txt'));
    await expect(found?.content()).rejects.toMatchObject({ rule: 'it is a symbolic link' });
  });
});

describe('while a file is read', () => {
  it('it is read no further than the cap when it grows faster than it is read', async () => {
    cases.tried();
    box.write('a.txt', 'x');
    const found = await new Sandbox(box.path, { maxFileBytes: 1_000_000 }).file('a.txt');
    let reads = 0;
    const grow: BeforeCall = (name) => {
      if (name !== 'handle.read') return;
      reads += 1;
      fs.appendFileSync(box.at('a.txt'), 'x'.repeat(300_000));
    };
    await expect(interposing(grow, async () => found?.content())).rejects.toThrow(FileTooLargeError);
    expect(reads).toBe(4);
  });

  it('an abort ends it, and the file is closed', async () => {
    const found = await new Sandbox(box.path).file(path.basename(box.write('a.txt', Buffer.alloc(600_000))));
    const controller = new AbortController();
    const calls: string[] = [];
    const abortAtRead: BeforeCall = (name) => {
      calls.push(name);
      if (name === 'handle.read') controller.abort(new Error('gone'));
    };
    await expect(interposing(abortAtRead, async () => found?.content(controller.signal))).rejects.toThrow(
      'gone',
    );
    expect(calls.slice(-2)).toEqual(['handle.read', 'handle.close']);
  });

  it('no refusal leaves a file open', async () => {
    const found = await new Sandbox(box.path).file(path.basename(box.write('a.txt')));
    fs.renameSync(box.write('b.txt'), box.at('a.txt'));
    const open = () => fs.readdirSync('/proc/self/fd').length;
    const before = fs.existsSync('/proc/self/fd') ? open() : 0;
    for (let round = 0; round < 20; round += 1) await found?.content().catch(() => undefined);
    if (before > 0) expect(open()).toBeLessThan(before + 10);
  });
});
