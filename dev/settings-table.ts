/**
 * The tables of docs/configuration.md that tell each setting: `npm run settings` writes them there. Made from the schemas that
 * check what hosts and environments give, so that they say what is done.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { boardSchema, healthSchema } from '../src/config/board-settings.ts';
import { connectSchema } from '../src/config/connect-settings.ts';
import { processSchema } from '../src/config/process-settings.ts';
import { webSchema } from '../src/config/web-settings.ts';
import { workerStopSchema, workSchema } from '../src/config/work-settings.ts';
import { limitsSchema } from '../src/turn/limits.ts';

export const docsFile = fileURLToPath(new URL('../docs/configuration.md', import.meta.url));

/** A setting as JSON Schema tells it, with what the schema's own words add. */
interface Told {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, Told>>;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly noLimit?: boolean;
  readonly pattern?: string;
  readonly description?: string;
  readonly env?: string;
  readonly envDefault?: unknown;
  readonly kind?: string;
  readonly bounds?: string;
  readonly shownDefault?: string;
}

const sections: readonly [name: string, schema: z.ZodType, title: string][] = [
  ['connect', connectSchema, 'Options of `connect`'],
  ['work', workSchema, 'Options of `work`'],
  ['stop', workerStopSchema, '`worker.stop`'],
  ['worker', processSchema, 'The worker process (`workers/turns`)'],
  ['health', healthSchema.pick({ port: true }), 'Its health answer'],
  ['board', boardSchema, 'Options of `createBoard`, and the board process (`workers/board`)'],
  ['web', webSchema, 'Options of `eventStream`'],
  ['limits', limitsSchema, 'Limits of a policy (`policy.limits`)'],
];

const begin = '<!-- Made by `npm run settings`. -->';
const end = '<!-- The end of what is made. -->';

/** The page with its tables made anew. */
export function withTables(page: string): string {
  const [before, after] = [page.indexOf(begin), page.indexOf(end)];
  if (before < 0 || after < before) throw new Error(`${path.basename(docsFile)} has no place for the tables`);
  return `${page.slice(0, before + begin.length)}\n\n${tables()}\n\n${page.slice(after)}`;
}

function tables(): string {
  return sections.map(([name, schema, title]) => table(name, schema, title)).join('\n\n');
}

function table(name: string, schema: z.ZodType, title: string): string {
  const json = z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' }) as Told & {
    readonly required?: readonly string[];
  };
  const rows = rowsOf(json.properties ?? {}, '', new Set(json.required ?? []));
  const withEnv = rows.some(({ env }) => env !== '');
  // What the shipped process is told by its environment only has no name of its own.
  const withName = !['worker', 'health'].includes(name);
  const head = [...(withName ? ['setting'] : []), ...(withEnv ? ['variable'] : [])];
  const cells = rows.map(({ setting, env, type, initial, bounds, meaning }) => [
    ...(withName ? [setting] : []),
    ...(withEnv ? [env] : []),
    type,
    initial,
    bounds,
    meaning,
  ]);
  const lines = [
    [...head, 'type', 'default', 'bounds', 'meaning'],
    head.concat(Array(4).fill('')).map(() => '---'),
  ];
  return [`**${title}**`, '', ...[...lines, ...cells].map((row) => `| ${row.join(' | ')} |`)].join('\n');
}

function rowsOf(properties: Readonly<Record<string, Told>>, above: string, required: ReadonlySet<string>) {
  return Object.entries(properties).flatMap(([key, told]): Row[] => {
    if (told.properties && told.kind === undefined)
      return rowsOf(told.properties, `${above}${key}.`, new Set());
    const name = `${above}${key}`;
    return [
      {
        setting: `\`${name}\``,
        env: told.env === undefined ? '' : `\`${told.env}\``,
        type: typeOf(name, told),
        initial: initialOf(told, required.has(key)),
        bounds: boundsOf(told),
        meaning: told.description ?? '',
      },
    ];
  });
}

interface Row {
  readonly setting: string;
  readonly env: string;
  readonly type: string;
  readonly initial: string;
  readonly bounds: string;
  readonly meaning: string;
}

function typeOf(name: string, { kind, type, enum: words }: Told): string {
  if (kind !== undefined) return kind;
  if (words) return words.map((word) => `\`${word}\``).join(' or ');
  if (type === 'string') return 'text';
  if (type === 'number') return 'number';
  return name.endsWith('Ms') ? 'ms' : 'whole number';
}

function initialOf(told: Told, required: boolean): string {
  if (told.shownDefault !== undefined) return told.shownDefault;
  const own = told.noLimit && told.default === undefined ? 'no limit' : shown(told.default);
  const env = told.envDefault === undefined ? '' : `${shown(told.envDefault)} of the process`;
  if (own === '' && env === '') return required ? 'required' : 'none';
  return [own, env].filter((each) => each !== '').join('; ');
}

function shown(value: unknown): string {
  if (typeof value === 'number') return value.toLocaleString('en-US');
  return typeof value === 'string' ? `\`${value}\`` : '';
}

function boundsOf({ bounds, minimum, maximum, noLimit, pattern }: Told): string {
  if (bounds !== undefined) return bounds;
  if (minimum !== undefined && maximum !== undefined)
    return `${shown(minimum)} – ${shown(maximum)}${noLimit ? ', or `Infinity`' : ''}`;
  return pattern === undefined ? '' : `\`${pattern.replace(/^\^|\$$/g, '')}\``;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(docsFile, withTables(readFileSync(docsFile, 'utf8')));
