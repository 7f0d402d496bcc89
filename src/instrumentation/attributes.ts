/**
 * Every attribute that leaves this process with a span, an event or a metric, ours and those of other instrumentations,
 * and what is left of its value. What has no row is dropped: names, ids, sizes and codes leave, nothing that a person,
 * an agent or a server wrote.
 */
type Rule = (value: string) => string | undefined;

const maxValueLength = 300;

/** Names and ids that come from code, settings or a database's schema. */
const name: Rule = (value) => value.slice(0, maxValueLength);
/** One word, or nothing: some of these are what a server or foreign code says. */
const code: Rule = (value) => (/^[\w.-]{1,60}$/.test(value) ? value : undefined);
/** The command of a statement, without what it is about. */
const command: Rule = (value) => /^[\w.]{1,60}(?=\s|$)/.exec(value)?.[0];
/** Paths hold tokens, queries hold directories. The route of a call to OpenCode stands in `url.template`. */
const origin: Rule = (value) => {
  try {
    const { protocol, host } = new URL(value);
    return `${protocol}//${host}`;
  } catch {
    return undefined;
  }
};

const rules = {
  // Ours.
  'artifacts.count': name,
  // Names of files, relative, as the agent chose them.
  'artifacts.paths': name,
  'artifacts.reason': code,
  'callback.name': name,
  'error.type': code,
  'gen_ai.agent.name': name,
  'gen_ai.operation.name': code,
  'gen_ai.provider.name': name,
  'gen_ai.request.model': name,
  'http.request.method': code,
  'http.response.status_code': code,
  'job.attempt': name,
  'job.state': code,
  'messaging.destination.name': name,
  'parts.count': name,
  'stream.end': code,
  'turn.blocker': name,
  'turn.created': name,
  'turn.epoch': name,
  'turn.id': name,
  'turn.phase': code,
  'turn.policy': name,
  'turn.reason': code,
  'turn.reruns': name,
  'turn.resends': name,
  'turn.status': code,
  'url.template': name,
  // Of other instrumentations, by their conventions of today and of before.
  'db.client.connection.state': code,
  'db.collection.name': name,
  'db.mongodb.collection': name,
  'db.name': name,
  'db.namespace': name,
  'db.operation': command,
  'db.operation.name': name,
  'db.query.text': command,
  'db.response.status_code': code,
  'db.statement': command,
  'db.system': code,
  'db.system.name': code,
  'exception.type': code,
  'http.method': code,
  'http.request.body.size': name,
  'http.response.body.size': name,
  'http.route': name,
  'http.status_code': code,
  'http.url': origin,
  'net.peer.name': name,
  'net.peer.port': name,
  'network.peer.address': name,
  'network.peer.port': name,
  'network.protocol.version': code,
  'server.address': name,
  'server.port': name,
  'url.full': origin,
  'url.scheme': code,
} satisfies Readonly<Record<string, Rule>>;

export type AttributeName = keyof typeof rules;
export type AttributeValue = string | number | boolean;
export type Attributes = Readonly<Partial<Record<AttributeName, AttributeValue | undefined>>>;

export const attributeNames = Object.keys(rules) as readonly AttributeName[];

/** What may leave of some attributes; lists never do. Pure. */
export function allowedAttributes(given: Readonly<Record<string, unknown>> = {}): Attributes {
  const kept = Object.entries(given).flatMap(([key, value]) => {
    const left = Object.hasOwn(rules, key) ? allowedValue(rules[key as AttributeName], value) : undefined;
    return left === undefined ? [] : [[key, left] as const];
  });
  return Object.fromEntries(kept);
}

function allowedValue(rule: Rule, value: unknown): AttributeValue | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  return typeof value === 'string' ? rule(value) : undefined;
}

/** An error as one word: its code, or its class. Never its message, which may hold anything. */
export function errorType(error: unknown): string {
  const { code: given, name: named } = (error ?? {}) as { code?: unknown; name?: unknown };
  const words = [given, named].filter((word) => typeof word === 'string' || typeof word === 'number');
  return words.map((word) => code(String(word))).find((word) => word !== undefined) ?? 'Error';
}
