/** Preloaded into the worker process: answers every message with what the process has used so far. */
import process from 'node:process';

process.on('message', () => {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  process.send({ cpuMs: (user + system) / 1_000, rssMiB: rss / 2 ** 20, heapMiB: heapUsed / 2 ** 20 });
});
// A worker without its bench would go on for ever.
process.on('disconnect', () => process.exit());
process.channel.unref();
