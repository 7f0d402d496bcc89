import { knownTool } from './tool-table.ts';

/** MCP servers whose name OpenCode puts before each of their tools: `exa_web_search_exa`. */
export const defaultMcpServers: readonly string[] = ['exa', 'brave', 'serper', 'tavily', 'local-web-search'];

export interface ToolName {
  /** As the table knows it: without the server's name. */
  readonly canonical: string;
  /** The MCP server's name, `opencode-builtin`, or `unknown`. */
  readonly provider: string;
}

/**
 * Takes an MCP server's name off a tool's name: the prefix, and the suffix by which some servers double it,
 * unless the name with the suffix is known itself.
 */
export function toolName(name: string, mcpServers: readonly string[] = defaultMcpServers): ToolName {
  const server = mcpServers.find((one) => one !== '' && name.startsWith(`${one}_`));
  if (server === undefined) {
    const row = knownTool(name);
    if (row?.builtin) return { canonical: name, provider: 'opencode-builtin' };
    const named = row && mcpServers.find((one) => one !== '' && name.endsWith(`_${one}`));
    return { canonical: name, provider: named ?? 'unknown' };
  }
  const single = name.slice(server.length + 1);
  const suffix = `_${server}`;
  const doubled = !knownTool(single) && single.endsWith(suffix) && single.length > suffix.length;
  const canonical = doubled ? single.slice(0, -suffix.length) : single;
  return canonical === '' ? { canonical: name, provider: server } : { canonical, provider: server };
}

/** `get_weather-report` → `Get weather report`. */
export function humanized(name: string): string {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/[_\-\s]+/g, ' ')
    .trim()
    .toLowerCase();
  return words === '' ? 'Tool' : words.charAt(0).toUpperCase() + words.slice(1);
}
