import { z } from 'zod';

const text = z.string().min(1).max(4_000, 'must be at most 4,000 long');

/** What the shipped worker is told by its environment only. */
export const processSchema = z.strictObject({
  policies: text.optional().meta({
    env: 'OPENCODE_TURNS_POLICIES',
    kind: 'path of a module',
    shownDefault: 'one policy `default`',
    description: 'its default export is a table of policies; it may export your own model as `conversations`',
  }),
  model: text.optional().meta({
    env: 'OPENCODE_TURNS_MODEL',
    kind: '`provider/model`',
    shownDefault: "the server's",
    description: 'model of that one policy',
  }),
  agent: text.optional().meta({
    env: 'OPENCODE_TURNS_AGENT',
    shownDefault: "the server's",
    description: 'agent of that one policy',
  }),
  logFormat: z.enum(['text', 'json']).default('text').meta({
    env: 'OPENCODE_TURNS_LOG_FORMAT',
    description: 'lines on stderr: `text` for people, or `json` for programs, one object a line',
  }),
});
