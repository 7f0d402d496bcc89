import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  FileTooLargeError,
  Transform,
  type TurnEntry,
  type TurnPolicy,
  type Turns,
} from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;
const model = 'scripted/scripted';
const page = new Transform({
  sourceFilename: 'page.json',
  destinationFilename: 'page.html',
  contentType: 'text/html',
  render: async (file) => ({ content: `<p>${JSON.parse(String(await file.content())).n}</p>` }),
});
const policies: Record<string, TurnPolicy> = {
  default: { model },
  patching: { model: 'scripted/gpt-5-scripted' },
  pages: { model, transforms: [page] },
};

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  await turns.work({ policies });
}, 90_000);
afterAll(() => system.stop());
beforeEach(() => {
  system.reports.length = 0;
});

const write = (filePath: string, content: string) => ({ name: 'write', input: { filePath, content } });
const edit = (filePath: string, oldString: string, newString: string) => ({
  name: 'edit',
  input: { filePath, oldString, newString },
});
const bash = (command: string) => ({ name: 'bash', input: { command, description: 'test' } });

async function turnThatCalls(steps: readonly { name: string; input: object }[][], policy = 'default') {
  system.respond(({ step }) => {
    const tools = steps[step] as { name: string; input: Record<string, unknown> }[] | undefined;
    return tools ? { tools } : { text: ['done'] };
  });
  const conversation = await newConversation(turns);
  const { stored, view, entries } = await runTurn(turns, conversation, 'go', policy);
  expect(stored.status).toBe('completed');
  expect(view.artifacts.map(({ fileId }) => fileId).sort()).toEqual(
    stored.artifacts.map(({ fileId }) => fileId).sort(),
  );
  const bytes = new Map<string, Buffer>();
  for (const { filename, fileId } of stored.artifacts) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of turns.files.read(fileId)) chunks.push(chunk);
    bytes.set(filename, Buffer.concat(chunks));
  }
  return { stored, entries, bytes, box: path.join(system.sandboxRoot, conversation) };
}

describe('a completed turn', () => {
  it('has the files that edits left, and those that the shell made, as they are on disk', async () => {
    const { bytes, box } = await turnThatCalls([
      [write('notes.md', '# draft\n'), bash("printf '\\000\\377\\001' > image.bin")],
      [edit('notes.md', '# draft', '# final')],
    ]);
    expect([...bytes.keys()].sort()).toEqual(['image.bin', 'notes.md']);
    for (const [name, content] of bytes)
      expect(content.equals(readFileSync(path.join(box, name)))).toBe(true);
    expect(bytes.get('notes.md')?.toString()).toBe('# final\n');
    expect(system.reports).toEqual([]);
  });

  it('has what one patch added, changed and moved, and not what it deleted', async () => {
    const patch = [
      '*** Begin Patch',
      '*** Add File: docs/added.md',
      '+new',
      '*** Update File: kept.md',
      '@@',
      '-old',
      '+changed',
      '*** Delete File: gone.md',
      '*** Update File: draft.md',
      '*** Move to: paper.md',
      '@@',
      '-draft',
      '+final',
      '*** End Patch',
    ].join('\n');
    const { bytes, box } = await turnThatCalls(
      [
        [bash('printf "old\\n" > kept.md; printf "bye\\n" > gone.md; printf "draft\\n" > draft.md')],
        [{ name: 'apply_patch', input: { patchText: patch } }],
      ],
      'patching',
    );
    const texts = [...bytes].map(([name, content]) => [name, content.toString()] as const);
    expect(texts.sort()).toEqual([
      ['added.md', 'new\n'],
      ['kept.md', 'changed\n'],
      ['paper.md', 'final\n'],
    ]);
    expect(readFileSync(path.join(box, 'docs/added.md'), 'utf8')).toBe('new\n');
  });

  it('stores its reply before its files; without any it goes to its end in one write', async () => {
    const steps = ({ entries }: { entries: readonly TurnEntry[] }) =>
      entries.flatMap((entry) => (entry.type === 'progress' ? entry.progress : entry.type));
    const plain = steps(await turnThatCalls([[bash('true')]]));
    expect(plain).not.toContain('finalizing');
    const withFiles = steps(await turnThatCalls([[write('one.txt', '1'), bash('echo 2 > two.txt')]]));
    expect(withFiles.filter((step) => ['finalizing', 'artifact', 'finished'].includes(step))).toEqual([
      'finalizing',
      'artifact',
      'artifact',
      'finished',
    ]);
  });

  it('has nothing of an earlier turn of the conversation', async () => {
    const conversation = await newConversation(turns);
    system.respond(({ step }) =>
      step === 0 ? { tools: [bash('touch -d "1 minute ago" old.txt')] } : { text: ['1'] },
    );
    await runTurn(turns, conversation, 'first');
    system.respond(({ step }) => (step === 0 ? { tools: [bash('echo new > new.txt')] } : { text: ['2'] }));
    const { stored } = await runTurn(turns, conversation, 'second');
    expect(stored.artifacts.map(({ filename }) => filename)).toEqual(['new.txt']);
  });

  it('has what the host rendered, whatever the agent wrote under its name', async () => {
    const evil = '<script>evil()</script>';
    const { stored, bytes } = await turnThatCalls(
      [
        [write('page.html', evil), write('page.json', '{"n":1}')],
        [
          bash(`printf '${evil}' > PAGE.html; mkdir -p out; cp PAGE.html out/page.html`),
          edit('page.json', '1', '42'),
        ],
      ],
      'pages',
    );
    expect(Object.fromEntries([...bytes].map(([name, content]) => [name, content.toString()]))).toEqual({
      'page.html': '<p>42</p>',
    });
    expect(stored.artifacts[0]?.metadata).toMatchObject({ renderedBy: 'page.html', source: 'transform' });
  });
});

describe("upstream's file endpoint", () => {
  it('gives text and binary bytes exactly, and null for what is not there', async () => {
    const { box } = await turnThatCalls([
      [
        write('text.txt', '\n  Grüße\n\n'),
        bash(
          "mkdir 'deep dir'; printf '\\000\\377\\001\\n' > 'deep dir/image#ü?.bin'; ln -s /etc/hostname link",
        ),
      ],
    ]);
    const { url, password } = system.opencode;
    const client = openCodeClient({ address: serverAddress(url, undefined, password) });
    const read = (name: string, maxBytes = 1_000) =>
      client.readFile({ directory: box, path: name, maxBytes });
    for (const name of ['text.txt', 'deep dir/image#ü?.bin'])
      expect([name, await read(name)]).toEqual([name, readFileSync(path.join(box, name))]);
    for (const name of ['nothing.txt', 'deep dir', 'link', '../../doc'])
      expect([name, await read(name)]).toEqual([name, null]);
    await expect(read('text.txt', 3)).rejects.toThrow(FileTooLargeError);
  });
});
