import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { apparentName } from '../../src/artifacts/attachment-names.ts';
import { Transform, type TransformRule } from '../../src/artifacts/transform.ts';
import { InvalidConfigError, TransformError } from '../../src/errors.ts';
import { AttachDesk } from '../support/attach-desk.ts';
import { edited, patched, type ToolCall, wrote } from '../support/tool-calls.ts';

let prepared: Awaited<ReturnType<typeof AttachDesk.prepare>>;
let desk: AttachDesk;
let hostileCases = 0;

beforeAll(async () => {
  prepared = await AttachDesk.prepare();
});
afterAll(async () => {
  await prepared.stop();
  writeFileSync(process.stderr.fd, `trust: ${hostileCases} hostile cases tried\n`);
});
beforeEach(async () => {
  desk = await prepared.open();
});
afterEach(() => desk.close());

const source = 'report.json';
const destination = 'report.html';
const evil = '<script>evil()</script>';

const report = (rule: Partial<TransformRule> = {}) =>
  new Transform({
    sourceFilename: source,
    destinationFilename: destination,
    contentType: 'text/html',
    inline: true,
    render: async (file) => ({ content: `<p>${JSON.parse(String(await file.content())).total}</p>` }),
    ...rule,
  });

const trustedText = '<p>42</p>';
const data = '{"total":42}';

/** Nothing that looks like the destination is attached but what the transform rendered. */
async function expectOnlyTrusted(expected: string | undefined): Promise<void> {
  hostileCases += 1;
  const held = await desk.held();
  const worn = Object.entries(held).filter(([name]) => apparentName(name) === destination);
  expect(worn).toEqual(expected === undefined ? [] : [[destination, expected]]);
  expect(Object.values(held).filter((text) => text.includes('evil'))).toEqual([]);
}

/** Names that a person, or a file system that folds case, takes for the destination. */
const disguises: readonly (readonly [string, string])[] = [
  ['itself', 'report.html'],
  ['in capitals', 'REPORT.HTML'],
  ['in full width letters', 'ｒｅｐｏｒｔ.ｈｔｍｌ'],
  ['with a ligature-like long s', 'report.html'.replace('t.', 't\uFE52')],
  ['with an accent on top', 're\u0301port.html'],
  ['with a space behind', 'report.html '],
  ['with a dot behind', 'report.html.'],
  ['in a folder', 'out/report.html'],
  ['in a folder in capitals', 'OUT/Report.Html'],
];

/** Which calls tell of the file; `bash` tells nothing. */
const ways: readonly (readonly [string, (name: string) => readonly ToolCall[]])[] = [
  ['write', (name) => [wrote(name, evil)]],
  ['edit', (name) => [edited(name)]],
  ['apply_patch', (name) => [patched({ filePath: name, type: 'add' })]],
  ['apply_patch, moved there', (name) => [patched({ filePath: 'x', movePath: name, type: 'move' })]],
  ['bash', () => []],
];

async function layDeep(name: string): Promise<void> {
  await mkdir(path.join(desk.box, path.dirname(name)), { recursive: true });
  await desk.lay(name, evil);
}

describe.each(ways)('an agent that makes the destination by %s', (_way, calls) => {
  const make = async (name: string) => {
    await layDeep(name);
    return calls(name);
  };

  it.each(disguises)('named %s, never gets its bytes attached', async (_what, name) => {
    await desk.lay(source, data);
    const made = await make(name);
    await desk.attach([...made, wrote(source, data)], { transforms: [report()] });
    await expectOnlyTrusted(trustedText);
  });

  it('without a source gets nothing attached either', async () => {
    const made = await make(destination);
    const { dropped } = await desk.attach(made, { transforms: [report()] });
    await expectOnlyTrusted(undefined);
    expect(dropped).toEqual([{ reason: 'reserved_name', count: 1, paths: [destination] }]);
  });

  it('while the host renders, or after it, gets nothing attached', async () => {
    await desk.lay(source, data);
    const transform = report({
      render: async (file) => {
        await make(destination);
        return { content: `<p>${JSON.parse(String(await file.content())).total}</p>` };
      },
    });
    await desk.attach([wrote(source, data)], { transforms: [transform] });
    await expectOnlyTrusted(trustedText);
    const late = await make(destination);
    await desk.attach([wrote(source, data), ...late], { transforms: [transform] });
    await expectOnlyTrusted(trustedText);
  });
});

describe('an impostor that is attached already', () => {
  const impostor = { filename: 'Report.HTML', contentType: 'text/html', content: Buffer.from(evil) };

  it('goes with its bytes before the trusted file comes', async () => {
    const { file } = await desk.message.attach({ ...impostor, filename: destination });
    await desk.message.attach(impostor);
    await desk.lay(source, data);
    await desk.attach([], { transforms: [report()] });
    await expectOnlyTrusted(trustedText);
    await expect(async () => {
      for await (const _ of desk.store.read(file.fileId));
    }).rejects.toThrow('no file');
  });

  it('does not get its place back by coming in between', async () => {
    await desk.lay(source, data);
    let races = 0;
    const raced = {
      ...desk.message,
      attach: async (file: Parameters<typeof desk.message.attach>[0]) => {
        races += 1;
        if (races < 3) await desk.message.attach({ ...impostor, filename: destination });
        return desk.message.attach(file);
      },
    };
    await desk.attach([], { message: raced, transforms: [report()] });
    await expectOnlyTrusted(trustedText);
    expect(races).toBe(3);
  });

  it('that always comes back first costs the file, and stays away itself', async () => {
    await desk.lay(source, data);
    const raced = {
      ...desk.message,
      attach: async (file: Parameters<typeof desk.message.attach>[0]) => {
        await desk.message.attach({ ...impostor, filename: destination });
        return desk.message.attach(file);
      },
    };
    const { dropped } = await desk.attach([], { message: raced, transforms: [report()] });
    await expectOnlyTrusted(undefined);
    expect(dropped).toMatchObject([{ reason: 'name_taken', count: 1 }]);
  });

  it('is left where the rule says so, and blocks the name', async () => {
    await desk.message.attach({ ...impostor, filename: destination, content: Buffer.from('older') });
    await desk.lay(source, data);
    const { attached, dropped } = await desk.attach([], { transforms: [report({ purgeImpostors: false })] });
    expect(attached).toEqual([]);
    expect(dropped).toMatchObject([{ reason: 'name_taken', count: 1 }]);
  });

  it('cannot give itself the stamp: only metadata that the host wrote counts', async () => {
    await desk.lay(source, data);
    const forged = JSON.stringify({ renderedBy: destination });
    const { attached } = await desk.attach([wrote('renderedBy', forged)], { transforms: [report()] });
    expect(attached.map(({ metadata }) => metadata.renderedBy)).toEqual([undefined, destination]);
    hostileCases += 1;
  });
});

describe('a transform', () => {
  it('stamps what it renders; the host may add, not overrule', async () => {
    await desk.lay(source, data);
    const render = () => ({ content: 'x', metadata: { pages: 2, inline: false, renderedBy: 'me' } });
    const { attached } = await desk.attach([], { transforms: [report({ render })] });
    expect(attached).toMatchObject([
      {
        filename: destination,
        contentType: 'text/html',
        metadata: { pages: 2, inline: true, renderedBy: destination, source: 'transform', path: source },
      },
    ]);
  });

  it.each([
    ['throws', () => Promise.reject(new Error('no number'))],
    [
      'throws at once',
      () => {
        throw new Error('no number');
      },
    ],
    ['answers nothing', () => undefined as never],
    ['answers something else', () => ({ content: 42 }) as never],
  ] as const)('that %s costs only its file', async (_what, render) => {
    await desk.lay(source, data);
    await desk.lay('other.txt', 'other');
    const { dropped } = await desk.attach([], { transforms: [report({ render })] });
    expect(await desk.held()).toEqual({ 'other.txt': 'other' });
    expect(dropped).toEqual([{ reason: 'transform_failed', count: 1, paths: [source] }]);
    expect(desk.reports).toEqual([{ error: expect.any(TransformError), action: 'artifacts.transform' }]);
  });

  it('that never answers costs no more than the time limit', async () => {
    await desk.lay(source, data);
    await desk.lay('other.txt', 'other');
    const render = () => new Promise<never>(() => undefined);
    const options = { transforms: [report({ render })], timeLimitMs: 300 };
    const { dropped } = await desk.attach([], options);
    expect(dropped).toMatchObject([{ reason: 'out_of_time' }]);
    await expectOnlyTrusted(undefined);
  });

  it('whose predicates throw neither applies nor trusts', async () => {
    await desk.lay(source, data);
    const appliesTo = () => {
      throw new Error('oops');
    };
    const broken = await desk.attach([], { transforms: [report({ appliesTo })] });
    expect(broken.dropped).toEqual([{ reason: 'reserved_name', count: 1, paths: [source] }]);
    expect(desk.reports[0]).toMatchObject({ action: 'artifacts.transform' });
    const { dropped } = await desk.attach([], { transforms: [report({ trusted: appliesTo })] });
    expect(dropped).toMatchObject([{ reason: 'name_taken' }]);
    await expectOnlyTrusted(undefined);
  });

  it.each([
    ['never answer', () => new Promise<never>(() => undefined)],
    ['answer later that they do not', async () => false],
    ['answer rubbish', () => 'yes' as unknown as boolean],
  ])('whose predicates %s neither applies nor trusts, and costs no other file', async (_, predicate) => {
    await desk.lay(source, data);
    await desk.lay('other.txt', 'other');
    const options = { hookTimeoutMs: 50 };
    await desk.attach([], { transforms: [report({ appliesTo: predicate })], ...options });
    expect(await desk.held()).toEqual({ 'other.txt': 'other' });
    const { dropped } = await desk.attach([], { transforms: [report({ trusted: predicate })], ...options });
    expect(dropped).toMatchObject([{ reason: 'name_taken' }]);
    await expectOnlyTrusted(undefined);
  });

  it('that hangs over one file has its time, and the others go on', async () => {
    await desk.lay(source, data);
    await desk.lay('other.txt', 'other');
    let aborted: AbortSignal | undefined;
    const render = (_: unknown, signal: AbortSignal) => {
      aborted = signal;
      return new Promise<never>(() => undefined);
    };
    const { dropped } = await desk.attach([], { transforms: [report({ render })], hookTimeoutMs: 50 });
    expect(dropped).toEqual([{ reason: 'transform_failed', count: 1, paths: [source] }]);
    expect(desk.reports[0]?.error).toMatchObject({ code: 'transform_failed', filename: source });
    expect(String(desk.reports[0]?.error)).toMatch(/render of the transform to "report.html": takes more/);
    expect(aborted?.aborted).toBe(true);
    expect(await desk.held()).toEqual({ 'other.txt': 'other' });
  });

  it.each([
    ['nothing', undefined],
    ['a text', 'html'],
    ['a type that is none', { content: '', contentType: 5 }],
    [
      'metadata that is no JSON',
      {
        content: '',
        metadata: {
          big: 1n,
        },
      },
    ],
    ['metadata without bound', { content: '', metadata: { long: 'x'.repeat(20_000) } }],
    ['metadata that is a list', { content: '', metadata: [] }],
  ])('that renders %s costs its file', async (_, rendered) => {
    await desk.lay(source, data);
    const { dropped } = await desk.attach([], { transforms: [report({ render: () => rendered as never })] });
    expect(dropped).toMatchObject([{ reason: 'transform_failed' }]);
    await expectOnlyTrusted(undefined);
  });

  it('is found among more files than the sandbox gives, and rendered with defaultAttach none', async () => {
    await desk.lay(source, data);
    for (let at = 0; at < 30; at += 1) await desk.lay(`noise${at}.txt`, 'noise');
    await desk.attach([], { transforms: [report()], maxSandboxFiles: 5 });
    await expectOnlyTrusted(trustedText);
    expect(Object.keys(await desk.held())).toHaveLength(6);
    await desk.close();
    desk = await prepared.open();
    await desk.lay(source, data);
    await desk.lay('other.txt', 'other');
    await desk.attach([], { transforms: [report()], defaultAttach: 'none' });
    expect(await desk.held()).toEqual({ [destination]: trustedText });
  });

  it('is rendered once for two workers at once', async () => {
    await desk.lay(source, data);
    await Promise.all([1, 2].map(() => desk.attach([wrote(source, data)], { transforms: [report()] })));
    expect(await desk.held()).toEqual({ [destination]: trustedText });
  });

  it.each([
    ['a destination with a path', { destinationFilename: 'a/b.html' }],
    ['an empty destination', { destinationFilename: '' }],
    ['a key that nobody knows', { inlin: true } as object],
    ['inline in words', { inline: 'yes' as unknown as boolean }],
    ['a render that is no function', { render: 'html' as unknown as () => never }],
    ['a destination that does not show', { destinationFilename: '\u200b' }],
    ['a destination that looks like its source', { destinationFilename: 'Report.JSON' }],
  ])('with %s is refused', (_what, rule) => {
    expect(() => report(rule)).toThrow(InvalidConfigError);
  });
});
