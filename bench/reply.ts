/**
 * How much a reply costs on top of reading its events: decode and apply of one long turn, made of the recordings
 * of the real server, against plain `JSON.parse` of the same lines. And whether turns leave anything behind.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { decodeEvent } from '../src/opencode/v1/decode.ts';
import { Reply } from '../src/reply/reply.ts';
import { type Recording, recordings } from '../test/support/recordings.ts';

const sessionId = 'ses_bench';
const promptMessageId = 'msg_bench';
/** Decode and apply may take as long as the parsing that nobody can avoid. */
const minSpeedRatio = 0.5;
/** What the heap may grow by from the first turn to the last. */
const maxGrowthMiB = 2;

/** The lines of one turn: the recordings again and again, each time with new ids in the same session. */
function longTurn(events: number): string[] {
  const lines: string[] = [];
  for (let copy = 0; lines.length < events; copy += 1) {
    for (const one of recordings) {
      if (lines.length >= events) break;
      for (const event of one.events) lines.push(renamed(JSON.stringify(event), one, copy, lines.length));
    }
  }
  return lines.slice(0, events);
}

/** Event ids ascend, as the server's do. */
function renamed(
  line: string,
  { sessionId: own, prompts, name }: Recording,
  copy: number,
  at: number,
): string {
  const eventId = `evt_${String(at).padStart(12, '0')}`;
  return line.replace(/"evt_\w+"/, `"${eventId}"`).replace(/\b(?:msg|prt|que|per|ses|call)_\w+/g, (id) => {
    if (id === own) return sessionId;
    return prompts.includes(id) ? promptMessageId : `${id}${name.replace(/\W/g, '')}${copy}`;
  });
}

function parse(lines: readonly string[]): number {
  const start = performance.now();
  let known = 0;
  for (const line of lines) if (JSON.parse(line) !== null) known += 1;
  if (known !== lines.length) throw new Error('lines were lost');
  return performance.now() - start;
}

function turn(lines: readonly string[]): { ms: number; parts: number } {
  const start = performance.now();
  const reply = new Reply({ sessionId, promptMessageId });
  for (const line of lines) reply.apply(decodeEvent(JSON.parse(line)));
  const { parts } = reply.result();
  return { ms: performance.now() - start, parts: parts.length };
}

function heapMiB(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

/** The best of all runs: what the machine does beside makes runs slower, never faster. */
const best = (values: readonly number[]) => Math.min(...values);
const rounded = (value: number, digits: number) => Number(value.toFixed(digits));

export async function run({ quick = false }: { quick?: boolean } = {}) {
  const lines = longTurn(quick ? 20_000 : 100_000);
  const turns = quick ? 5 : 10;
  let parts = 0;
  for (let warmed = 0; warmed < 3; warmed += 1) {
    parse(lines);
    parts = turn(lines).parts;
  }
  const parsing: number[] = [];
  const applying: number[] = [];
  const heap: number[] = [];
  for (let at = 0; at < turns; at += 1) {
    parsing.push(parse(lines));
    const applied = turn(lines);
    applying.push(applied.ms);
    parts = applied.parts;
    heap.push(heapMiB());
  }
  const ratio = best(parsing) / best(applying);
  const growthMiB = (heap.at(-1) ?? 0) - (heap[0] ?? 0);
  return {
    bench: 'reply',
    target: `at least ${minSpeedRatio} of the speed of JSON.parse; heap grows by less than ${maxGrowthMiB} MiB over ${turns} turns`,
    ok: ratio >= minSpeedRatio && growthMiB < maxGrowthMiB,
    ratio: rounded(ratio, 2),
    events: lines.length,
    parts,
    parseMs: rounded(best(parsing), 1),
    parseDecodeApplyMs: rounded(best(applying), 1),
    eventsPerSecond: Math.round(lines.length / (best(applying) / 1_000)),
    heapGrowthMiB: rounded(growthMiB, 2),
  };
}
