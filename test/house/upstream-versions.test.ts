import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { importsOf, projectFiles, root } from './sources.ts';

/**
 * What is known of one version of OpenCode stands in a folder of its own, so that the next one moves in beside it. `reply`
 * holds our normal form, which is that of 1.18, and `testing` plays a server of it.
 */
const sources = projectFiles().filter((file) => /^src\/.*\.ts$/.test(file) && !file.endsWith('.d.ts'));
const outside = sources.filter((file) => !/^src\/(opencode|reply|testing)\//.test(file));
const shared = sources.filter((file) => /^src\/opencode\/[^/]+$/.test(file));

/** What only somebody who knows 1.18 writes. */
const known: readonly (readonly [RegExp, string])[] = [
  [/['"`]\/(session|question|permission|global|event|api|project|config)\b/, 'a route'],
  [
    /\b(statuses\(|(get|abort)Session\(|promptAsync|recentSessions|addPermissions|reply(Question|Permission)|rejectQuestion|instanceStartedAt)/,
    'a call of a route',
  ],
  [/'(busy|idle)'/, 'a status'],
  [
    /'(session\.(status|idle|error|created|updated|deleted|compacted)|message\.(updated|removed|part\.\w+)|server\.(connected|heartbeat|instance\.\w+)|(question|permission)\.(asked|replied|rejected)|todo\.updated)'/,
    'an event',
  ],
  [/MessageAborted|The user (rejected|dismissed)/, 'a text'],
  [/\bWireSession\b|\bWireSessionStatus\b|\bWireEvent\b/, 'a shape'],
];

const withoutComments = (text: string) =>
  text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '');

const findings = (text: string, name: string): string[] =>
  withoutComments(text)
    .split('\n')
    .flatMap((line) =>
      known
        .filter(([word]) => word.test(line))
        .map(([word, what]) => `${name}: ${word.exec(line)?.[0]} is ${what}`),
    );

const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

describe('what one version of OpenCode does', () => {
  it('is known in its folder only', () => {
    expect(outside.length).toBeGreaterThan(150);
    expect(outside.flatMap((file) => findings(read(file), file))).toEqual([]);
  });

  it('would be found', () => {
    const lines = known.map(([, what]) => what);
    const text =
      "ask('/session/status')\nawait client.statuses(x)\ntype === 'busy'\nevent.type === 'session.idle'\n" +
      "name === 'MessageAbortedError'\nimport type { WireSession }\n// '/session'\n/** 'busy' */";
    expect(findings(text, 'x').map((line) => line.replace(/.* is /, ''))).toEqual(lines);
  });

  it('is reached by the port alone: nobody but what puts all together, and the server of tests, imports it', () => {
    const reached = outside
      .filter((file) => !/^src\/compose(-servers|-worker)?\.ts$/.test(file))
      .flatMap(importsOf)
      .filter(({ to }) => to.startsWith('src/opencode/v'));
    expect(reached).toEqual([]);
  });

  it('is not known to what the versions share', () => {
    expect(shared.length).toBeGreaterThan(5);
    expect(shared.flatMap(importsOf).filter(({ to }) => to.startsWith('src/opencode/v'))).toEqual([]);
  });

  it('is chosen nowhere by what names a prompt: its second key is only stored', () => {
    const holders = outside.filter((file) => read(file).includes('promptPartId'));
    expect(holders.filter((file) => !file.startsWith('src/turn/'))).toEqual([]);
  });
});
