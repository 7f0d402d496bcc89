import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { messageOf, UnsupportedServerError } from '../../src/errors.ts';
import { consoleReporter } from '../../src/instrumentation/error-reporter.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { serverProbe } from '../../src/opencode/probe.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { openCodeBinary } from './opencode-package.ts';
import { namedService, type Progress, refuseProduction, type Service } from './service.ts';
import { freePort, startSupervised } from './supervised.ts';

export interface OpenCodeService extends Service {
  readonly password: string | undefined;
  /** Where it keeps its database; survives `restart`. */
  readonly directory: string;
  /** Ends the server at once, as a crash would, and starts it again on the same port and data. */
  restart(): Promise<void>;
}

export interface OpenCodeServiceOptions {
  readonly progress?: Progress;
  /** Base URL of an OpenAI-compatible server that becomes the provider `scripted`. */
  readonly modelUrl?: string;
  /** Leaves the person's own provider settings and keys in the environment. */
  readonly ownProviders?: boolean;
}

const bootMs = 60_000;

/**
 * OpenCode: what OPENCODE_URL names, else a server on a free loopback port, with a home of its own and a random
 * password. Boot takes some seconds; a question asked meanwhile may be accepted and never answered, so each has
 * a short limit.
 */
export async function startOpenCode(options: OpenCodeServiceOptions = {}): Promise<OpenCodeService> {
  const { OPENCODE_URL, OPENCODE_SERVER_PASSWORD } = process.env;
  if (OPENCODE_URL) return external(OPENCODE_URL, OPENCODE_SERVER_PASSWORD);
  refuseProduction();
  const { command, from } = await openCodeBinary(options.progress ?? (() => undefined));
  const directory = await mkdtemp(path.join(tmpdir(), 'opencode-turns-opencode-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const password = randomBytes(18).toString('base64url');
  await writeConfig(directory, options.modelUrl);
  const client = openCodeClient({ address: serverAddress(url, undefined, password), timeoutMs: 1_500 });
  const start = (remove: readonly string[]) =>
    startSupervised({
      command,
      args: ['serve', '--pure', '--hostname', '127.0.0.1', '--port', String(port)],
      env: environment(directory, password, options.ownProviders ?? false),
      cwd: directory,
      remove,
      bootMs,
      probe: () => client.health(),
    });
  let running = await start([directory]);
  return {
    name: 'OpenCode',
    url,
    password,
    directory,
    description: `opencode serve (${from})`,
    stop: () => running.stop(),
    restart: async () => {
      await running.kill();
      running = await start([directory]);
    },
  };
}

async function external(url: string, password: string | undefined): Promise<OpenCodeService> {
  const named = await namedService('OpenCode', 'OPENCODE_URL', url, () => speak(url, password));
  const refuse = async () => {
    throw new Error('a server that was there already is not restarted');
  };
  return { ...named, password, directory: '', restart: refuse };
}

async function speak(url: string, password: string | undefined): Promise<void> {
  const address = serverAddress(url, undefined, password);
  const probe = serverProbe({ address, reporter: consoleReporter });
  await openCodeClient({ address, probe })
    .health()
    .catch((cause: unknown) => {
      if (cause instanceof UnsupportedServerError) throw cause;
      throw new Error(`${address.server}: ${messageOf(cause)}`, { cause });
    });
}

/** A home of its own: nothing of the person's sessions, settings or keys is read or written. */
function environment(directory: string, password: string, ownProviders: boolean): NodeJS.ProcessEnv {
  const own = {
    OPENCODE_SERVER_PASSWORD: password,
    OPENCODE_DISABLE_AUTOUPDATE: '1',
    OPENCODE_CONFIG: path.join(directory, 'opencode.json'),
    XDG_DATA_HOME: path.join(directory, 'data'),
    XDG_STATE_HOME: path.join(directory, 'state'),
    XDG_CACHE_HOME: path.join(directory, 'cache'),
  };
  if (ownProviders) return { ...process.env, ...own };
  const { PATH, LANG, TMPDIR } = process.env;
  return {
    ...own,
    ...(PATH ? { PATH } : {}),
    ...(LANG ? { LANG } : {}),
    ...(TMPDIR ? { TMPDIR } : {}),
    HOME: path.join(directory, 'home'),
    XDG_CONFIG_HOME: path.join(directory, 'config'),
    OPENCODE_DISABLE_MODELS_FETCH: '1',
  };
}

/** Models of the scripted provider; the second one makes the server offer `apply_patch` in place of edit and write. */
const scriptedModels = ['scripted', 'gpt-5-scripted'];

async function writeConfig(directory: string, modelUrl: string | undefined): Promise<void> {
  await mkdir(path.join(directory, 'home'), { recursive: true });
  const model = {
    tool_call: true,
    reasoning: true,
    cost: { input: 3, output: 15, cache_read: 0.3, cache_write: 3.75 },
    limit: { context: 200_000, output: 8_192 },
  };
  const provider = {
    scripted: {
      npm: '@ai-sdk/openai-compatible',
      name: 'Scripted',
      options: { baseURL: `${modelUrl}/v1`, apiKey: 'scripted' },
      models: Object.fromEntries(scriptedModels.map((name) => [name, { name, ...model }])),
    },
  };
  const config = {
    $schema: 'https://opencode.ai/config.json',
    autoupdate: false,
    share: 'disabled',
    ...(modelUrl ? { provider, model: 'scripted/scripted', small_model: 'scripted/scripted' } : {}),
  };
  await writeFile(path.join(directory, 'opencode.json'), JSON.stringify(config, null, 2));
}
