import type { ToolPart } from './part.ts';

interface Tool {
  /** What it asks for, each time, before it does anything. */
  readonly permission: string;
  /** Whether this is the server's own tool, and has begun to act; one of a plugin may bear the same name. */
  readonly acted: (part: ToolPart) => boolean;
  /** Whether this call asks; without it, each does. */
  readonly asks?: (part: ToolPart) => boolean;
}

const left =
  (field: string) =>
  ({ status, metadata }: ToolPart) =>
    status === 'completed' && field in metadata;

/**
 * The server's tools that ask before they act, and what each leaves in its part and no other tool does. Source: the tools of
 * OpenCode 1.18.33 and a live server (`test/security/asked-first.test.ts`). `task` is not here: it may be told not to ask.
 */
const tools: Readonly<Record<string, Tool>> = {
  // Its output, an empty one first, comes once it was allowed.
  bash: {
    permission: 'bash',
    acted: ({ status, metadata }) =>
      ['running', 'completed'].includes(status) && typeof metadata.output === 'string',
    asks: ({ input }) => isPlainCommand(input.command),
  },
  read: { permission: 'read', acted: left('preview') },
  edit: { permission: 'edit', acted: left('filediff') },
  write: { permission: 'edit', acted: left('filepath') },
  apply_patch: { permission: 'edit', acted: left('files') },
  glob: { permission: 'glob', acted: left('count') },
  grep: { permission: 'grep', acted: left('matches') },
  todowrite: { permission: 'todowrite', acted: left('todos') },
  webfetch: {
    permission: 'webfetch',
    acted: ({ status, title, input }) =>
      status === 'completed' && title?.startsWith(`${String(input.url)} (`) === true,
  },
};

/** The permission that this call has surely asked for and been given, unless rules allow it; undefined where that is not certain. */
export function askedFirst(part: ToolPart): string | undefined {
  const tool = Object.hasOwn(tools, part.tool) ? tools[part.tool] : undefined;
  return tool?.acted(part) && (tool.asks?.(part) ?? true) ? tool.permission : undefined;
}

const maxCommandLength = 10_000;
/** Words that a shell reads as something other than a command: the server finds nothing to ask for in some of them. */
const notCommands = new Set(
  (
    'if then elif else fi for while until do done case esac select function coproc time in ' +
    'declare typeset export readonly local unset unsetenv let test'
  ).split(' '),
);
/** Commands that the server never asks for. */
const unasked = new Set(['cd', 'chdir', 'popd', 'pushd', 'push-location', 'set-location']);
const name = /^(?:\.{0,2}\/)?[A-Za-z_][\w./-]*$/;
/** A word, what leads to or from a file, or what stands between two commands; and the blanks behind it. */
const piece =
  /((?:[\w./:=,@%+~*?-]|\$(?=\w)|'[^']*'|"(?:[^"\\`$]|\$(?=\w))*")+)[ \t]*|(>>?&?|<(?!<))[ \t]*|(?:&&|\|\||[;|\n])\s*/y;

/**
 * Whether a command asks for itself: the server asks for the commands that it finds in it, and for nothing where it finds
 * none (`cd`, an assignment, what it cannot read). So true only for plain words, files, and what joins commands.
 */
export function isPlainCommand(command: unknown): boolean {
  if (typeof command !== 'string' || command.length > maxCommandLength) return false;
  const text = command.trim();
  let asks = false;
  let before: 'join' | 'arrow' | 'word' = 'join';
  for (piece.lastIndex = 0; piece.lastIndex < text.length; ) {
    const [found, word, arrow] = piece.exec(text) ?? [];
    if (found === undefined) return false;
    if (word === undefined && before !== 'word') return false;
    if (word !== undefined && before === 'join') {
      if (!name.test(word) || notCommands.has(word)) return false;
      asks ||= !unasked.has(word);
    }
    before = word !== undefined ? 'word' : arrow !== undefined ? 'arrow' : 'join';
  }
  return asks && before === 'word';
}
