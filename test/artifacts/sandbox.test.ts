import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Sandbox } from '../../src/artifacts/sandbox.ts';
import type { SandboxFile } from '../../src/artifacts/sandbox-file.ts';
import { FileTooLargeError, UnsafeFileError } from '../../src/errors.ts';
import { HostileBox, hostileCases, secret } from '../support/hostile-box.ts';

const cases = hostileCases('sandbox');
let box: HostileBox;
let sandbox: Sandbox;
beforeEach(() => {
  box = new HostileBox();
  sandbox = new Sandbox(box.path, { maxFileBytes: 1_000 });
});
afterEach(() => box.remove());

const isRoot = process.getuid?.() === 0;
const names = (files: readonly SandboxFile[]) => files.map(({ filename }) => filename);
const text = async (file: SandboxFile | undefined) => (await file?.content())?.toString();
/** A time that tests count from; the box's own files are as old. */
const at = Date.UTC(2025, 0, 1);
const setModified = (file: string, ms: number) => utimesSync(file, ms / 1_000, ms / 1_000);

describe('a file of the sandbox', () => {
  it('is read with its facts', async () => {
    setModified(box.write('report.pdf', 'pages'), at);
    const file = await sandbox.file('report.pdf');
    expect(file).toMatchObject({
      filename: 'report.pdf',
      contentType: 'application/pdf',
      bytes: 5,
      modifiedAt: at,
      safe: true,
    });
    expect(await file?.content()).toEqual(Buffer.from('pages'));
    expect(await file?.content()).toEqual(Buffer.from('pages'));
  });

  it.each([
    ['a.json', 'application/json'],
    ['a.tar.GZ', 'application/gzip'],
    ['a', 'application/octet-stream'],
    ['html', 'application/octet-stream'],
    ['a.constructor', 'application/octet-stream'],
    ['a.__proto__', 'application/octet-stream'],
    ['a.', 'application/octet-stream'],
  ])('%s has the type %s', async (name, type) => {
    box.write(name);
    expect((await sandbox.file(name))?.contentType).toBe(type);
  });

  it('may have no bytes, and as many as the cap', async () => {
    box.write('empty', '');
    box.write('full', 'x'.repeat(1_000));
    expect((await (await sandbox.file('empty'))?.content())?.length).toBe(0);
    expect((await (await sandbox.file('full'))?.content())?.length).toBe(1_000);
  });

  it('is undefined when nothing is there', async () => {
    expect(await sandbox.file('none')).toBeUndefined();
    expect(await sandbox.file('x'.repeat(300))).toBeUndefined();
    expect(await sandbox.fileAt('none/a.txt')).toBeUndefined();
    box.write('a.txt');
    expect(await sandbox.fileAt('a.txt/b.txt')).toBeUndefined();
    expect(await new Sandbox(path.join(box.home, 'none')).file('a.txt')).toBeUndefined();
    expect(await new Sandbox(path.join(box.home, 'none')).fileAt('a.txt')).toBeUndefined();
  });

  it('is not read for a caller who has gone', async () => {
    box.write('a.txt');
    const file = await sandbox.file('a.txt');
    await expect(file?.content(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  });
});

interface Trap {
  readonly put: (name: string) => unknown;
  readonly rule: RegExp | typeof FileTooLargeError;
  readonly needs?: boolean;
}

/** What an agent can put under a name. */
const traps: Record<string, Trap> = {
  'a symlink to a file outside': {
    put: (name) => symlinkSync(path.join(box.home, 'secret.txt'), box.at(name)),
    rule: /symbolic link/,
  },
  'a relative symlink to a file outside': {
    put: (name) => symlinkSync('../secret.txt', box.at(name)),
    rule: /symbolic link/,
  },
  'a symlink to a file inside': {
    put: (name) => symlinkSync(box.write('target.txt'), box.at(name)),
    rule: /symbolic link/,
  },
  'a symlink to a folder': {
    put: (name) => symlinkSync(box.outside, box.at(name)),
    rule: /symbolic link/,
  },
  'a symlink to itself': { put: (name) => symlinkSync(name, box.at(name)), rule: /symbolic link/ },
  'a symlink to nowhere': { put: (name) => symlinkSync('nowhere', box.at(name)), rule: /symbolic link/ },
  'a symlink to /dev/zero': { put: (name) => symlinkSync('/dev/zero', box.at(name)), rule: /symbolic link/ },
  'a hard link to a file outside': {
    put: (name) => linkSync(path.join(box.home, 'secret.txt'), box.at(name)),
    rule: /3 hard links/,
  },
  'a FIFO': { put: (name) => box.fifo(name), rule: /not a regular file/ },
  'a device': {
    put: (name) => execFileSync('mknod', [box.at(name), 'c', '1', '5']),
    rule: /not a regular file/,
    needs: canMakeDevices(),
  },
  'a folder': { put: (name) => mkdirSync(box.at(name)), rule: /folder/ },
  'a file above the cap': { put: (name) => box.write(name, 'x'.repeat(1_001)), rule: FileTooLargeError },
  'a file of a terabyte without any block': {
    put: (name) => truncateSync(box.write(name, ''), 2 ** 40),
    rule: FileTooLargeError,
  },
};

function canMakeDevices(): boolean {
  const trial = new HostileBox();
  try {
    execFileSync('mknod', [trial.at('device'), 'c', '1', '5'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  } finally {
    trial.remove();
  }
}

async function expectRefused(file: SandboxFile | undefined, rule: Trap['rule']): Promise<void> {
  cases.tried();
  expect(file).toMatchObject({ safe: false });
  const error = await file?.content().then(String, (thrown: unknown) => thrown);
  if (!(rule instanceof RegExp)) return expect(error).toBeInstanceOf(rule);
  expect(error).toBeInstanceOf(UnsafeFileError);
  expect(error).toMatchObject({ filename: file?.filename, rule: expect.stringMatching(rule) });
}

describe('a trap', () => {
  for (const [what, { put, rule, needs = true }] of Object.entries(traps)) {
    const test = needs ? it : it.skip;
    test(`${what} is refused with its rule, wherever it is`, async () => {
      put('trap');
      put(path.join('sub', 'trap'));
      await expectRefused(await sandbox.file('trap'), rule);
      await expectRefused(await sandbox.fileAt('trap'), rule);
      await expectRefused(await sandbox.fileAt('sub/trap'), rule);
      await expectRefused(await sandbox.fileAt(box.at('sub', 'trap')), rule);
      const { files, refused } = await sandbox.files();
      expect(names(files)).not.toContain('trap');
      expect(names(refused).includes('trap')).toBe(what !== 'a folder');
    });
  }

  it('a socket is refused', async () => {
    const server = createServer().listen(box.at('trap'));
    try {
      await expectRefused(await sandbox.file('trap'), /not a regular file/);
    } finally {
      server.close();
    }
  });

  it('a file that may not be read is refused', async () => {
    chmodSync(box.home, 0o755);
    chmodSync(box.write('trap'), 0);
    await asNobody(async () => {
      cases.tried();
      const file = await sandbox.file('trap');
      await expect(file?.content()).rejects.toMatchObject({
        code: 'unsafe_file',
        rule: 'it may not be read',
      });
    });
  });

  it('a folder that may not be entered is refused', async () => {
    chmodSync(box.home, 0o755);
    box.write('sub/a.txt');
    chmodSync(box.at('sub'), 0);
    await asNobody(async () => {
      cases.tried();
      await expect(sandbox.fileAt('sub/a.txt')).rejects.toMatchObject({ code: 'unsafe_file' });
      await expect(new Sandbox(box.at('sub')).files()).rejects.toMatchObject({ code: 'unsafe_file' });
    });
    chmodSync(box.at('sub'), 0o755);
  });
});

/** Root may read everything. */
async function asNobody(fn: () => Promise<void>): Promise<void> {
  if (!isRoot) return fn();
  process.seteuid?.(65_534);
  try {
    await fn();
  } finally {
    process.seteuid?.(0);
  }
}

describe('a path from a tool call', () => {
  it('finds a file by its relative, its absolute and its real path', async () => {
    box.write('sub/a.txt', 'mine');
    symlinkSync(box.home, path.join(box.home, 'alias'));
    const throughLink = new Sandbox(path.join(box.home, 'alias', 'box-1'));
    const paths = ['sub/a.txt', './sub/../sub/a.txt', 'sub/a.txt/', 'sub/a.txt/b/..', box.at('sub/a.txt')];
    for (const given of [...paths, path.join(box.home, 'alias/box-1/sub/a.txt')])
      expect(await text(await throughLink.fileAt(given))).toBe('mine');
    expect((await sandbox.fileAt('sub/a.txt'))?.filename).toBe('a.txt');
  });

  const outside: Record<string, () => string> = {
    'the parent': () => '..',
    'a file of the parent': () => '../secret.txt',
    'a file of the parent, far round': () => 'sub/../../secret.txt',
    'a neighbour whose name begins the same': () => path.join(box.home, 'box-10/a.txt'),
    'such a neighbour, relative': () => '../box-10/a.txt',
    'an absolute path': () => '/etc/passwd',
    'a path with a NUL': () => 'sub\0/../../secret.txt',
    'a name with a NUL': () => 'a.txt\0.png',
    'the sandbox itself': () => box.path,
    nothing: () => '',
    'a file through a linked folder': () => {
      symlinkSync(box.outside, box.at('link'));
      return 'link/a.txt';
    },
    'a file through two linked folders': () => {
      symlinkSync('sub/up', box.at('link'));
      symlinkSync('../..', box.at('sub/up'));
      return 'link/secret.txt';
    },
    'a neighbour through a linked folder': () => {
      symlinkSync('../box-10', box.at('link'));
      return box.at('link/a.txt');
    },
    'a folder that links to itself': () => {
      symlinkSync('link', box.at('link'));
      return 'link/a.txt';
    },
  };
  it.each(Object.entries(outside))('%s is refused', async (_, given) => {
    cases.tried();
    await expect(sandbox.fileAt(given())).rejects.toBeInstanceOf(UnsafeFileError);
  });

  it('a linked folder that stays inside is followed', async () => {
    box.write('sub/a.txt', 'mine');
    symlinkSync('sub', box.at('link'));
    expect(await text(await sandbox.fileAt('link/a.txt'))).toBe('mine');
  });

  it.each(['..', '.', '', '../secret.txt', 'sub/a.txt', '/etc/passwd', 'a\0.txt'])(
    '%j is no name of a file at the top level',
    async (name) => {
      cases.tried();
      box.write('sub/a.txt');
      await expect(sandbox.file(name)).rejects.toBeInstanceOf(UnsafeFileError);
    },
  );
});

describe('names', () => {
  it.each([
    ['a newline', 'a\nb.txt'],
    ['a carriage return', 'a\rb.txt'],
    ['an escape', 'a\u001b[31m.txt'],
    ['a line separator', 'a\u2028b.txt'],
    ['a turn of the writing direction', 'invoice\u202efdp.exe'],
    ['an isolate', 'a\u2066b.txt'],
    ['a character without width', 'a\u200bb.txt'],
    ['a letter that is not drawn', 'a\u3164b.txt'],
    ['words in tags', 'a\u{e0049}\u{e0067}.txt'],
    ['a byte order mark', '\ufeffa.txt'],
  ])('with %s are refused, and told', async (_, name) => {
    box.write(name);
    await expectRefused(await sandbox.file(name), /characters that deceive/);
    expect(names((await sandbox.files()).refused)).toEqual([name]);
  });

  it.each([
    'résumé.pdf',
    're\u0301sume\u0301.pdf',
    '報告.txt',
    '👩‍💻.txt',
    '❤️.txt',
    'a b (1).txt',
    '-rf',
    '.env',
    'a\\b.txt',
  ])('like %s are read as they are', async (name) => {
    box.write(name, 'mine');
    expect(await text(await sandbox.file(name))).toBe('mine');
    expect(names((await sandbox.files()).files)).toEqual([name]);
  });

  it('that are not UTF-8 are counted', async () => {
    cases.tried();
    writeFileSync(Buffer.concat([Buffer.from(`${box.path}/a`), Buffer.of(0xff), Buffer.from('.txt')]), 'x');
    box.write('b.txt');
    const { files, refused, leftOut } = await sandbox.files();
    expect([names(files), names(refused), leftOut]).toEqual([['b.txt'], [], 1]);
  });
});

describe('a listing', () => {
  it('has the files of the top level, the latest first', async () => {
    box.write('sub/deep.txt');
    for (const [name, ageMs] of Object.entries({ old: 9, new: 0, 'mid-b': 5, 'mid-a': 5 }))
      setModified(box.write(name), at - ageMs);
    expect(await sandbox.files()).toMatchObject({ refused: [], leftOut: 0, complete: true });
    expect(names((await sandbox.files()).files)).toEqual(['new', 'mid-a', 'mid-b', 'old']);
  });

  it('leaves out what is older than the cutoff less two seconds', async () => {
    setModified(box.write('just'), at - 2_000);
    setModified(box.write('before'), at - 2_001);
    symlinkSync('just', box.at('fresh-link'));
    expect(names((await sandbox.files({ after: at })).files)).toEqual(['just']);
    expect(names((await sandbox.files({ after: at })).refused)).toEqual(['fresh-link']);
    expect((await sandbox.files({ after: at })).leftOut).toBe(0);
  });

  it('of 10,000 files holds the latest, and tells how many it left out', async () => {
    cases.tried();
    for (let index = 0; index < 10_000; index += 1) box.write(`f${index}`, '');
    setModified(box.write('latest'), Date.now() + 60_000);
    const listing = await sandbox.files();
    expect(listing.files.length).toBe(1_000);
    expect(listing.files[0]?.filename).toBe('latest');
    expect(listing).toMatchObject({ leftOut: 9_001, complete: true });
    const short = await new Sandbox(box.path, { maxEntries: 500 }).files();
    expect(short).toMatchObject({ leftOut: 0, complete: false });
    expect(short.files.length).toBeGreaterThan(490);
  });

  it('of more links than it holds tells how many it left out', async () => {
    for (const name of ['a', 'b', 'c']) symlinkSync('x', box.at(name));
    box.write('d');
    const { files, refused, leftOut } = await new Sandbox(box.path, { maxFiles: 2 }).files();
    expect([files.length, refused.length, leftOut]).toEqual([1, 2, 1]);
  });

  it('of a sandbox that does not exist is empty', async () => {
    const none = new Sandbox(path.join(box.home, 'none'));
    expect(await none.exists()).toBe(false);
    expect(await none.files()).toEqual({ files: [], refused: [], leftOut: 0, complete: true });
  });

  it('ends with the signal', async () => {
    box.write('a.txt');
    await expect(sandbox.files({}, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  });
});

describe('the sandbox itself', () => {
  it('exists as a folder', async () => {
    expect(await sandbox.exists()).toBe(true);
    expect(await new Sandbox(`${box.path}/`).exists()).toBe(true);
  });

  it.each([
    ['a link to a neighbour', () => symlinkSync('box-10', box.path)],
    ['a file', () => writeFileSync(box.path, secret)],
  ])('is refused when an agent made it %s', async (_, put) => {
    cases.tried();
    rmSync(box.path, { recursive: true });
    put();
    expect(await sandbox.exists()).toBe(false);
    for (const look of [() => sandbox.files(), () => sandbox.file('a.txt'), () => sandbox.fileAt('a.txt')])
      await expect(look()).rejects.toBeInstanceOf(UnsafeFileError);
  });

  it('may be moved by its host between two scans', async () => {
    box.write('a.txt', 'mine');
    const moved = path.join(box.home, 'moved');
    renameSync(box.path, moved);
    expect(await text(await new Sandbox(moved).file('a.txt'))).toBe('mine');
    expect(existsSync(box.path)).toBe(false);
  });
});
