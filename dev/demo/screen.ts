import { styleText } from 'node:util';
import type { TurnEntry } from '../../src/index.ts';
import { printable } from '../../src/instrumentation/printable.ts';
import type { Part, ToolPart } from '../../src/reply/part.ts';
import { ToolDisplay } from '../../src/reply/tool-display.ts';

type Style = Parameters<typeof styleText>[0];

const phases: Record<string, string> = {
  queued: 'queued in BullMQ',
  started: 'taken by the worker',
  adopted: 'adopted by another worker',
  prompted: 'prompted on the OpenCode server',
  finalizing: 'attaching files',
  rerun: 'the server lost the run: asked once more',
  resent: 'the session was gone: asked in a new one',
  waiting_for_server: 'the OpenCode server does not answer: waiting for it',
};

/** Shows one turn on a terminal while it runs: text as it grows, tools by title. */
export class Screen {
  readonly #out: NodeJS.WritableStream;
  readonly #color: boolean;
  readonly #types = new Map<string, Part['type']>();
  readonly #tools = new Map<string, string>();
  #current: string | undefined;

  constructor(out: NodeJS.WritableStream & { isTTY?: boolean }) {
    this.#out = out;
    this.#color = out.isTTY === true && !process.env.NO_COLOR;
  }

  line(text = '', style?: Style): void {
    this.#endText();
    this.#out.write(`${style ? this.#paint(style, text) : text}\n`);
  }

  fact(name: string, value: string): void {
    this.line(`  ${this.#paint('dim', name.padEnd(10))} ${printable(value)}`);
  }

  show(entry: TurnEntry): void {
    if (entry.type === 'progress') this.line(`▸ ${phases[entry.progress] ?? entry.progress}`, 'cyan');
    else if (entry.type === 'part') this.#part(entry.part);
    else if (entry.type === 'text') this.#grow(entry.partId, entry.delta);
    else if (entry.type === 'parts') for (const part of entry.parts) this.#types.set(part.id, part.type);
    else if (entry.type === 'retry')
      this.line(
        `  provider failed, upstream tries again (${entry.attempt}): ${printable(entry.message)}`,
        'yellow',
      );
    else if (entry.type === 'request')
      this.line(`  ${entry.request.kind} ${entry.request.requestId}: ${entry.request.state}`, 'yellow');
    else if (entry.type === 'artifact')
      this.line(`  📎 ${printable(entry.artifact.filename)} (${entry.artifact.bytes} bytes)`, 'green');
  }

  #part(part: Part): void {
    this.#types.set(part.id, part.type);
    if (part.type === 'tool') this.#tool(part);
    else this.#grow(part.id, part.text);
  }

  #tool(part: ToolPart): void {
    const display = new ToolDisplay(part);
    const text = display.isError
      ? `✗ ${display.title}: ${display.error ?? ''}`
      : display.isFinished
        ? `✓ ${display.pastTenseTitle}`
        : `… ${display.gerund}`;
    if (this.#tools.get(part.id) === text) return;
    this.#tools.set(part.id, text);
    this.line(`  ${printable(text)}`, display.isError ? 'red' : 'magenta');
  }

  #grow(partId: string, delta: string): void {
    if (delta === '') return;
    if (this.#current !== partId) this.#endText();
    if (this.#current === undefined) this.#out.write('  ');
    this.#current = partId;
    const text = delta.split('\n').map(printable).join('\n  ');
    this.#out.write(this.#types.get(partId) === 'reasoning' ? this.#paint('dim', text) : text);
  }

  #endText(): void {
    if (this.#current !== undefined) this.#out.write('\n');
    this.#current = undefined;
  }

  #paint(style: Style, text: string): string {
    return this.#color ? styleText(style, text, { validateStream: false }) : text;
  }
}
