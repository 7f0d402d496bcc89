import * as fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { UploadedFile } from '../../src/artifacts/uploaded-files-prompt.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { HostileBox, hostileCases, secret } from '../support/hostile-box.ts';
import { type BeforeCall, interposedFs, interposing } from '../support/interposed-fs.ts';

// The real disk, with the test told before each call: some cases act between two of them.
jest.unstable_mockModule('node:fs/promises', () => interposedFs);
const { Sandbox } = await import('../../src/artifacts/sandbox.ts');
const { UploadedFilesPrompt } = await import('../../src/artifacts/uploaded-files-prompt.ts');
const { FileTooLargeError, IllegalStateError, InvalidInputError, UnsafeFileError } = await import(
  '../../src/errors.ts'
);

const cases = hostileCases('uploads');
let box: HostileBox;
beforeEach(() => {
  box = new HostileBox();
  fs.rmdirSync(box.at('sub'));
});
afterEach(() => box.remove());

const upload = (filename: string, content = 'bytes', contentType = ''): UploadedFile => ({
  filename,
  contentType,
  content: Buffer.from(content),
});
const copy = (files: readonly UploadedFile[], text = 'Look at these', signal?: AbortSignal) =>
  UploadedFilesPrompt.copy({ text, files, sandbox: new Sandbox(box.path, { maxFileBytes: 1_000 }) }, signal);
const inBox = () => fs.readdirSync(box.path).sort();
const read = (name: string) => fs.readFileSync(box.at(name), 'utf8');
const codeOf = (code: string) => Object.assign(new Error(code), { code });

/** What lies outside the sandbox, with its bytes. */
function outside(): string[] {
  const files = fs.readdirSync(box.home, { recursive: true, withFileTypes: true });
  return files
    .filter((entry) => entry.isFile() && entry.parentPath !== box.path)
    .map((entry) => path.join(entry.parentPath, entry.name))
    .map((file) => `${file}: ${fs.readFileSync(file, 'utf8')}`)
    .sort();
}

describe('the prompt', () => {
  it('has the text of the user and a line for each file', async () => {
    const prompt = await copy([
      upload('Q3 report.pdf', 'pages', 'application/pdf'),
      upload('notes', 'words', 'text/plain; charset=utf-8'),
      upload('page.html', '<p>', 'image/png'),
      upload('data.bin', '', 'application/octet-stream'),
    ]);
    expect(prompt.text).toBe(
      [
        'Look at these',
        '',
        'Files from the user, in the working directory:',
        '- "Q3 report.pdf" is Q3_report.pdf (application/pdf, 5 bytes)',
        '- "notes" is notes (declared as text/plain, 5 bytes)',
        '- "page.html" is page.html (text/html by its name, declared as image/png, 3 bytes)',
        '- "data.bin" is data.bin (application/octet-stream, 0 bytes)',
      ].join('\n'),
    );
    expect([...prompt.sandboxFileNames]).toEqual([
      ['Q3_report.pdf', 'Q3 report.pdf'],
      ['notes', 'notes'],
      ['page.html', 'page.html'],
      ['data.bin', 'data.bin'],
    ]);
    expect(inBox()).toEqual(['Q3_report.pdf', 'data.bin', 'notes', 'page.html']);
    expect([read('Q3_report.pdf'), read('data.bin')]).toEqual(['pages', '']);
  });

  it('without files is the text, and needs no sandbox', async () => {
    box.remove();
    const prompt = await copy([]);
    expect([prompt.text, prompt.sandboxFileNames.size]).toEqual(['Look at these', 0]);
  });

  it('without text is about the files', async () => {
    expect((await copy([upload('a.txt')], '')).text).toMatch(/^Files from the user/);
  });

  it('tells what the agent will find, of 100 files with one name', async () => {
    cases.tried();
    const prompt = await copy(Array.from({ length: 100 }, (_, at) => upload('a.txt', `file ${at}`)));
    const names = [...prompt.sandboxFileNames.keys()];
    expect(names.slice(0, 3)).toEqual(['a.txt', 'a-2.txt', 'a-3.txt']);
    expect(names.map(read)).toEqual(Array.from({ length: 100 }, (_, at) => `file ${at}`));
    expect(prompt.text.split('\n').length).toBe(103);
    expect(inBox().length).toBe(100);
  });

  it.each([
    ['words and lines', 'text/plain\n- "ok" is ok'],
    ['much', `text/${'x'.repeat(1_000)}`],
    ['nothing', ''],
    ['no type', 'png'],
    ['only that it is bytes', 'application/octet-stream'],
  ])('does not repeat a declared type that says %s', async (_, declared) => {
    cases.tried();
    const { text } = await copy([upload('a.json', '{}', declared)], '');
    expect(text.split('\n')[1]).toBe('- "a.json" is a.json (application/json, 2 bytes)');
    expect(text.split('\n').length).toBe(2);
  });
});

describe('a hostile name', () => {
  it.each(['..', '../a.txt', '../../etc/passwd', '/etc/passwd', 'a/../../b', '..\\a.txt', 'a\\..\\b', '/'])(
    '%j is refused before anything is copied',
    async (name) => {
      cases.tried();
      await expect(copy([upload('good.txt'), upload(name)])).rejects.toThrow(UnsafeFileError);
      expect(inBox()).toEqual([]);
    },
  );

  it.each([
    ['a/b.txt', 'a_b.txt'],
    ['C:\\fakepath\\a.txt', 'C_fakepath_a.txt'],
    ['a\0.txt', 'a_.txt'],
    ['a\n- "b" is b.txt', 'a_-_b_is_b.txt'],
    ['a\u2028b\u0085c.txt', 'a_b_c.txt'],
    ['invoice\u202efdp.exe', 'invoice_fdp.exe'],
    ['a\u200b\u3164\u{e0041}.txt', 'a_.txt'],
    ['\ud800.txt', '_.txt'],
    ['．．／etc', '_etc'],
    ['．．', 'file'],
    ['‥.txt', '_.txt'],
    ['', 'file'],
    ['.', 'file'],
    ['...', 'file'],
    ['   ', 'file'],
    ['-rf', 'rf'],
    ['--help.txt', 'help.txt'],
    ['.env', 'env'],
    ['.opencode', 'opencode'],
    ['trailing...', 'trailing'],
    ['$(reboot);`id`.txt', '_reboot_id_.txt'],
    ['opencode.json', 'uploaded-opencode.json'],
    ['.OpenCode.jsonc', 'uploaded-OpenCode.jsonc'],
    ['AGENTS.md', 'uploaded-AGENTS.md'],
    ['claude.MD', 'uploaded-claude.MD'],
    ['AGENTS.md.', 'uploaded-AGENTS.md'],
    ['con', 'uploaded-con'],
    ['NUL.txt', 'uploaded-NUL.txt'],
    ['.opencode-turns-upload-x', 'opencode-turns-upload-x'],
    ['__init__.py', '__init__.py'],
    ['re\u0301sume\u0301.pdf', 'résumé.pdf'],
    ['報告 2.txt', '報告_2.txt'],
    [`${'x'.repeat(5_000)}.txt`, 'x'.repeat(200)],
    [`${'x'.repeat(300)}.txt`, `${'x'.repeat(196)}.txt`],
    [`${'報'.repeat(100)}.txt`, `${'報'.repeat(65)}.txt`],
    [`${'x'.repeat(199)}.${'y'.repeat(50)}`, 'x'.repeat(199)],
    [`a.${'x'.repeat(300)}`, `a.${'x'.repeat(198)}`],
  ])('%j becomes %j', async (given, name) => {
    cases.tried();
    const { text, sandboxFileNames } = await copy([upload(given)], '');
    expect([...sandboxFileNames]).toEqual([[name, given]]);
    expect(inBox()).toEqual([name]);
    expect(read(name)).toBe('bytes');
    const [, line = '', ...more] = text.split(/[\n\r\u2028\u2029\u0085]/);
    expect(more).toEqual([]);
    expect(line).toMatch(/^- "([^"\\]|\\.)*" is \S+ \([^()]*, 5 bytes\)$/u);
    expect(line).not.toMatch(/[\p{Cc}\p{Cs}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/u);
  });

  it('is shown by its beginning when it is long', async () => {
    cases.tried();
    const { text } = await copy([upload('x'.repeat(100_000))], '');
    expect(text.length).toBeLessThan(600);
  });

  it.each([
    ['twice the same', ['a.txt', 'a.txt'], ['a.txt', 'a-2.txt']],
    ['two that become one', ['a b.txt', 'a:b.txt'], ['a_b.txt', 'a_b-2.txt']],
    ['two that differ by case', ['a.txt', 'A.txt'], ['a.txt', 'A-2.txt']],
    ['two ways to write one letter', ['é', 'e\u0301'], ['é', 'é-2']],
    ['one that has the number of another', ['a-2.txt', 'a.txt', 'a.txt'], ['a-2.txt', 'a.txt', 'a-3.txt']],
  ])('%s: each gets its own', async (_, given, names) => {
    cases.tried();
    const prompt = await copy(given.map((name) => upload(name)));
    expect([...prompt.sandboxFileNames.keys()]).toEqual(names);
    expect([...prompt.sandboxFileNames.values()]).toEqual(given);
  });
});

describe('what has the name already', () => {
  const there: Record<string, () => void> = {
    'a symlink to a file outside': () => fs.symlinkSync('../secret.txt', box.at('a.txt')),
    'a symlink to nowhere outside': () => fs.symlinkSync('../new.txt', box.at('a.txt')),
    'a symlink to a folder outside': () => fs.symlinkSync(box.outside, box.at('a.txt')),
    'a hard link to a file outside': () => fs.linkSync(path.join(box.home, 'secret.txt'), box.at('a.txt')),
    'a FIFO': () => box.fifo('a.txt'),
    'a folder': () => fs.mkdirSync(box.at('a.txt')),
    'a file with other bytes': () => box.write('a.txt', 'other'),
    'a file with as many other bytes': () => box.write('a.txt', 'BYTES'),
  };
  it.each(Object.entries(there))('%s is neither followed nor touched', async (_, put) => {
    cases.tried();
    put();
    const before = fs.lstatSync(box.at('a.txt'));
    const untouched = outside();
    expect([...(await copy([upload('a.txt')])).sandboxFileNames.keys()]).toEqual(['a-2.txt']);
    expect(fs.lstatSync(box.at('a.txt'))).toMatchObject({
      ino: before.ino,
      mtimeMs: before.mtimeMs,
      size: before.size,
    });
    expect(outside()).toEqual(untouched);
    expect(read('a-2.txt')).toBe('bytes');
    expect(inBox()).toEqual(['a-2.txt', 'a.txt']);
  });

  it.each([
    ['symlink', fs.symlinkSync],
    ['hard link', fs.linkSync],
  ])('a %s to the very same bytes is not taken for them', async (_, make) => {
    cases.tried();
    make(path.join(box.home, 'secret.txt'), box.at('a.txt'));
    const prompt = await copy([upload('a.txt', secret)]);
    expect([...prompt.sandboxFileNames.keys()]).toEqual(['a-2.txt']);
  });

  it('a file that has no free name is refused', async () => {
    cases.tried();
    for (let number = 2; number <= 1_000; number += 1) fs.symlinkSync('x', box.at(`a-${number}.txt`));
    fs.symlinkSync('x', box.at('a.txt'));
    const busy = copy([upload('a.txt')]);
    await expect(busy).rejects.toThrow(UnsafeFileError);
    expect(inBox().length).toBe(1_000);
  });
});

describe('a repeat', () => {
  const files = [upload('a.txt', 'one'), upload('a.txt', 'two'), upload('a.txt', 'one'), upload('b', '')];

  it('by the next worker gives the same names and leaves the files alone', async () => {
    box.write('b', 'of the agent');
    const first = await copy(files);
    const stats = inBox().map((name) => fs.lstatSync(box.at(name)).ino);
    const second = await copy(files);
    expect(second.text).toBe(first.text);
    expect([...second.sandboxFileNames.keys()]).toEqual(['a.txt', 'a-2.txt', 'a-3.txt', 'b-2']);
    expect(inBox().map((name) => fs.lstatSync(box.at(name)).ino)).toEqual(stats);
  });

  it('by many at once gives all the same names', async () => {
    cases.tried();
    const prompts = await Promise.all(Array.from({ length: 8 }, () => copy(files)));
    expect(new Set(prompts.map(({ text }) => text)).size).toBe(1);
    expect(inBox()).toEqual(['a-2.txt', 'a-3.txt', 'a.txt', 'b']);
    for (const name of inBox()) expect(fs.lstatSync(box.at(name)).nlink).toBe(1);
  });

  it('after a worker that was killed at any call of it gives the same names, and leaves nothing in part', async () => {
    const calls = await callsOf(() => copy(files));
    const names = inBox();
    expect(calls).toBeGreaterThan(20);
    for (let at = 1; at <= calls; at += 1) {
      cases.tried();
      for (const name of inBox()) fs.rmSync(box.at(name));
      await expect(interposing(deadFrom(at), () => copy(files))).rejects.toThrow('killed');
      for (const wait of [() => undefined, makeOld]) {
        wait();
        const next = await copy(files);
        expect([...next.sandboxFileNames.keys()]).toEqual(['a.txt', 'a-2.txt', 'a-3.txt', 'b']);
      }
      expect(inBox()).toEqual(names);
    }
  });

  it('that comes to a name while the other has linked it and not yet ended takes it too', async () => {
    cases.tried();
    const late = deferred();
    const ended = deferred();
    const calls: string[] = [];
    const order: BeforeCall = (name) => {
      if (name !== 'link' && name !== 'unlink') return;
      calls.push(name);
      if (calls.join() === 'link') return late.promise;
      if (calls.join() === 'link,link,unlink') late.resolve();
      return calls.join() === 'link,link,unlink' ? ended.promise : undefined;
    };
    await interposing(order, async () => {
      const second = copy([upload('a.txt')]).finally(() => ended.resolve());
      await eventually(() => expect(calls).toEqual(['link']));
      const prompts = await Promise.all([copy([upload('a.txt')]), second]);
      expect(prompts.map(({ sandboxFileNames }) => [...sandboxFileNames.keys()])).toEqual([
        ['a.txt'],
        ['a.txt'],
      ]);
    });
    expect(inBox()).toEqual(['a.txt']);
  });

  it('is no reason to remove what somebody is still writing', async () => {
    cases.tried();
    const held = deferred();
    const started = deferred();
    async function* slow() {
      yield Buffer.from('o');
      started.resolve();
      await held.promise;
      yield Buffer.from('ne');
    }
    const first = copy([{ filename: 'a.txt', contentType: '', content: slow() }]);
    await started.promise;
    await copy([upload('a.txt', 'one')]);
    held.resolve();
    expect([...(await first).sandboxFileNames.keys()]).toEqual(['a.txt']);
    expect(inBox()).toEqual(['a.txt']);
  });
});

/** A killed worker makes no call any more, to clean up neither; what it has open is closed by the system. */
function deadFrom(at: number): BeforeCall {
  let call = 0;
  return (name) => {
    call += 1;
    if (call >= at && name !== 'handle.close') throw new Error('killed');
  };
}

async function callsOf(fn: () => Promise<unknown>): Promise<number> {
  let calls = 0;
  const count: BeforeCall = (name) => {
    if (name !== 'handle.close') calls += 1;
  };
  await interposing(count, fn);
  return calls;
}

/** As if the files had been left an hour ago. */
function makeOld(): void {
  const hourAgo = Date.now() / 1_000 - 3_600;
  for (const name of inBox()) fs.utimesSync(box.at(name), hourAgo, hourAgo);
}

describe('an upload that fails leaves no file in part', () => {
  async function* endless() {
    for (;;) yield Buffer.alloc(300);
  }
  async function* broken() {
    yield Buffer.from('half');
    throw new Error('lost');
  }
  const stream = (content: AsyncIterable<Uint8Array>) => ({ filename: 'b.txt', contentType: '', content });

  it.each([
    [
      'more bytes than the cap',
      () => upload('b.txt', 'x'.repeat(1_001)),
      new FileTooLargeError('b.txt', 1_000),
    ],
    ['a stream without an end', () => stream(endless()), new FileTooLargeError('b.txt', 1_000)],
    ['a stream that breaks', () => stream(broken()), new Error('lost')],
  ])('for %s', async (_, file, error) => {
    cases.tried();
    await expect(copy([upload('a.txt'), file()])).rejects.toThrow(error);
    expect(inBox()).toEqual(['a.txt']);
  });

  it('when its signal aborts while the source says nothing', async () => {
    cases.tried();
    const controller = new AbortController();
    async function* silent() {
      yield Buffer.from('half');
      controller.abort(new Error('gone'));
      await new Promise(() => undefined);
    }
    await expect(copy([stream(silent())], '', controller.signal)).rejects.toThrow('gone');
    expect(inBox()).toEqual([]);
  });

  it('when the disk is full', async () => {
    cases.tried();
    const full: BeforeCall = (name) => {
      if (name === 'handle.appendFile') throw codeOf('ENOSPC');
    };
    await expect(interposing(full, () => copy([upload('a.txt')]))).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(inBox()).toEqual([]);
  });

  it('and too many files, or no sandbox, are refused at once', async () => {
    await expect(copy(Array.from({ length: 201 }, () => upload('a')))).rejects.toThrow(InvalidInputError);
    expect(inBox()).toEqual([]);
    box.remove();
    await expect(copy([upload('a')])).rejects.toThrow(IllegalStateError);
  });
});

describe('while files are copied', () => {
  it('no byte goes to where a link leads that replaced the sandbox, at whatever call', async () => {
    const files = [upload('a.txt', 'one'), upload('b.txt', 'two')];
    const calls = await callsOf(() => copy(files));
    const untouched = outside();
    for (let from = 1; from <= calls; from += 1) {
      cases.tried();
      for (const name of inBox()) fs.rmSync(box.at(name));
      await interposing(swappedFrom(from), () => copy(files)).catch(() => undefined);
      fs.rmSync(box.path);
      fs.renameSync(path.join(box.home, 'aside'), box.path);
      expect(outside()).toEqual(untouched);
    }
  });

  it('a listing does not show what is not whole', async () => {
    async function* half() {
      yield Buffer.from('half');
      expect(inBox().length).toBe(1);
      expect(await new Sandbox(box.path).files()).toEqual({
        files: [],
        refused: [],
        leftOut: 0,
        complete: true,
      });
    }
    await copy([{ filename: 'a.txt', contentType: '', content: half() }]);
    expect(read('a.txt')).toBe('half');
  });
});

function swappedFrom(from: number): BeforeCall {
  let call = 0;
  return (name) => {
    if (name !== 'handle.close') call += 1;
    if (call !== from || fs.existsSync(path.join(box.home, 'aside'))) return;
    fs.renameSync(box.path, path.join(box.home, 'aside'));
    fs.symlinkSync(box.outside, box.path);
  };
}
