/**
 * A process that starts the development services and waits: for tests that kill it. Takes the names of the
 * services; says in one line of JSON where they are.
 */
import { startMongo } from '../../dev/services/mongo.ts';
import { startOpenCode } from '../../dev/services/opencode.ts';
import { startRedis } from '../../dev/services/redis.ts';

const quiet = () => undefined;
const starters = {
  redis: () => startRedis(quiet),
  mongo: () => startMongo(),
  opencode: () => startOpenCode({ progress: quiet }),
};
const names = process.argv.slice(2) as (keyof typeof starters)[];
const services = await Promise.all(names.map((name) => starters[name]()));
console.log(JSON.stringify(Object.fromEntries(services.map(({ url }, at) => [names[at], url]))));
// The pipes to the services keep this process alive.
