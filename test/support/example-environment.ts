import type { TestSystem } from './system.ts';

/** The services of a test for an example that reads its settings from the environment. */
export const exampleEnvironment = (system: TestSystem, example: string): NodeJS.ProcessEnv => ({
  ...process.env,
  REDIS_URL: system.redis.url,
  MONGODB_URL: system.options.mongo,
  OPENCODE_URL: system.opencode.url,
  OPENCODE_SERVER_PASSWORD: system.opencode.password,
  OPENCODE_TURNS_SANDBOX_ROOT: system.sandboxRoot,
  OPENCODE_TURNS_PREFIX: `example-${example}`,
});
