import { type TurnsError, UnsupportedServerError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import type { ServerAddress } from './address.ts';
import { type Answer, jsonOf, meaningOf, problemOf } from './answer.ts';
import { ask } from './ask.ts';
import { openTransport, type Transport } from './transport.ts';

/** What is tested, and what is spoken with. */
const testedVersion = /^1\.18\./;
export const supportedVersions = '1.x (tested with 1.18)';

export interface ServerProbe {
  /**
   * Resolves when the server was found to speak our protocol; asks it unless that is known. Throws
   * UnsupportedServerError, and what a question to a server that is away, or refuses us, throws.
   */
  ensure(signal?: AbortSignal): Promise<void>;
  /** An answer was none of this protocol: the next `ensure` asks again. */
  doubt(): void;
}

export interface ServerProbeOptions {
  readonly address: ServerAddress;
  readonly reporter: ErrorReporter;
  readonly transport?: Transport;
  /** For each of at most three questions. Default 10 s. */
  readonly timeoutMs?: number;
}

/** What is known of a server by the answers to `paths`, in their order. */
type Finding =
  | { readonly kind: 'speaks'; readonly version: string }
  | { readonly kind: 'another'; readonly version: string }
  | { readonly kind: 'no answer'; readonly error: TurnsError };

/**
 * Where a server tells its version: 1.x on the first route, 2.x on the second, builds before 2.0 on the third. Each
 * answers the others' routes with its web page and status 200, or with an empty 404, so none proves anything alone.
 */
const paths = ['/global/health', '/api/info', '/api/health'];
const maxBytes = 64 * 1024;

/** Asks one server once which protocol it speaks, however many calls wait for that, and again after a doubt. */
export function serverProbe(options: ServerProbeOptions): ServerProbe {
  const { address, reporter, transport = openTransport(), timeoutMs = 10_000 } = options;
  const warned = new Set<string>();
  let known = false;
  let asking: Promise<void> | undefined;

  async function find(): Promise<Finding> {
    const answers: Answer[] = [];
    for (const path of paths) {
      const send = ({ signal, fetch }: { signal: AbortSignal; fetch: typeof globalThis.fetch }) =>
        fetch(new Request(`${address.server}${path}`, { headers: { ...address.headers }, signal }));
      answers.push(await ask({ method: 'GET', path, timeoutMs, maxBytes, send }, transport, undefined));
      const finding = findingOf(answers);
      if (finding) return finding;
    }
    const [health] = answers as [Answer];
    return {
      kind: 'no answer',
      error: problemOf('foreign', health, { method: 'GET', path: paths[0] as string }),
    };
  }

  async function check(): Promise<void> {
    const finding = await find();
    if (finding.kind === 'no answer') throw finding.error;
    const { version } = finding;
    if (finding.kind === 'another')
      throw new UnsupportedServerError(address.server, version, supportedVersions);
    known = true;
    if (testedVersion.test(version) || warned.has(version)) return;
    warned.add(version);
    const untested = new Error(
      `OpenCode ${version} is not tested with this library, ${supportedVersions} is`,
    );
    reporter.report(untested, {
      action: 'server.probe',
      severity: 'warning',
      server: address.server,
      version,
    });
  }

  return {
    async ensure(signal) {
      if (known) return;
      asking ??= check().finally(() => {
        asking = undefined;
      });
      await (signal ? unlessAborted(asking, signal) : asking);
    },
    doubt() {
      known = false;
    },
  };
}

/** What the answers so far say; undefined while they say nothing. Pure. */
export function findingOf(answers: readonly Answer[]): Finding | undefined {
  const last = answers.at(-1) as Answer;
  const version = versionIn(last);
  if (answers.length > 1) return version === undefined ? undefined : { kind: 'another', version };
  const { meaning } = meaningOf(last, 'json');
  if (meaning === 'ok' && version !== undefined)
    return /^[01]\./.test(version) ? { kind: 'speaks', version } : { kind: 'another', version };
  // Wrong password, too busy, going up: that says nothing of the protocol.
  if (meaning === 'ok' || meaning === 'foreign' || meaning === 'absent' || meaning === 'invalid')
    return undefined;
  return { kind: 'no answer', error: problemOf(meaning, last, { method: 'GET', path: paths[0] as string }) };
}

function versionIn(answer: Answer): string | undefined {
  const json = jsonOf(answer);
  if (typeof json !== 'object' || json === null || !('version' in json)) return undefined;
  // A version is short; what is not is none.
  return typeof json.version === 'string' && /^[\w.+-]{1,60}$/.test(json.version) ? json.version : undefined;
}
