import { InvalidConfigError } from '../errors.ts';

export interface ServerAddress {
  /** Base URL without credentials, query and trailing slash: safe to store, log and trace. */
  readonly server: string;
  /** Headers of every request; empty for a server without password. */
  readonly headers: Readonly<Record<string, string>>;
}

const maxUrlLength = 2_000;

/**
 * Takes a server's URL apart from its credentials, which may stand in it or beside it. The server's default user
 * is `opencode` (OPENCODE_SERVER_USERNAME). Throws InvalidConfigError; its message never holds the password.
 */
export function serverAddress(url: string, username?: string, password?: string): ServerAddress {
  let parsed: URL;
  try {
    if (url.length > maxUrlLength) throw new Error('too long');
    parsed = new URL(url);
  } catch {
    throw new InvalidConfigError(
      'opencode.url',
      `must be a URL of the form http://host:port, ${maxUrlLength} characters at most`,
    );
  }
  if (!/^https?:$/.test(parsed.protocol))
    throw new InvalidConfigError('opencode.url', 'must be http:// or https://');
  const user = username ?? (decoded(parsed.username) || 'opencode');
  const secret = password ?? decoded(parsed.password);
  const server = `${parsed.protocol}//${parsed.host}${parsed.pathname.replace(/\/+$/, '')}`;
  if (secret === '') return { server, headers: {} };
  const token = Buffer.from(`${user}:${secret}`).toString('base64');
  return { server, headers: { authorization: `Basic ${token}` } };
}

/** A "%" that stands for itself must be written as "%25". */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new InvalidConfigError('opencode.url', 'has a user name or password that is not percent-encoded');
  }
}
