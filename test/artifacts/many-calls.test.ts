import { expect, it, jest } from '@jest/globals';
import { DropCount } from '../../src/artifacts/dropped-files.ts';
import { Sandbox } from '../../src/artifacts/sandbox.ts';
import { sandboxFiles, toolFiles } from '../../src/artifacts/turn-files.ts';
import type { ToolFile } from '../../src/reply/tool-files.ts';
import { HostileBox } from '../support/hostile-box.ts';

const readUpstream = async () => null;

it('files of a hundred times the calls cost no more looks at the disk', async () => {
  const looks = async (count: number) => {
    const sandbox = new Sandbox('/nowhere/at/all');
    const spy = jest.spyOn(sandbox, 'realPath');
    const calls = Array.from(
      { length: count },
      (_, at): ToolFile => ({ path: `file-${at}.txt`, kind: 'edit' }),
    );
    const dropped = new DropCount();
    const files = await toolFiles(calls, { sandbox, readUpstream }, dropped);
    expect(files.length + (dropped.all[0]?.count ?? 0)).toBe(count);
    return spy.mock.calls.length;
  };
  const few = await looks(100);
  expect(few).toBeGreaterThan(0);
  expect(await looks(10_000)).toBe(few);
});

it('a folder with more entries than are looked at is told', async () => {
  const box = new HostileBox();
  try {
    for (let at = 0; at < 20; at += 1) box.write(`f${at}`);
    const look = {
      cutoff: 0,
      uploadEcho: new Set<string>(),
      known: new Set<string>(),
      wanted: async () => false,
    };
    const signal = new AbortController().signal;
    const told = async (maxEntries: number) => {
      const dropped = new DropCount();
      const sandbox = new Sandbox(box.path, { maxEntries });
      await sandboxFiles({ sandbox, readUpstream }, { ...look, maxOthers: 100 }, dropped, signal);
      return dropped.all;
    };
    expect(await told(50)).toEqual([]);
    expect(await told(10)).toEqual([{ reason: 'folder_too_large', count: 1, paths: ['.'] }]);
  } finally {
    box.remove();
  }
});
