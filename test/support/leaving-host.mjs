/** A host that works, leaves when it is told to, and then ends once nothing of the library keeps it alive. */
import { once } from 'node:events';
import { connect } from '../../dist/src/index.js';

const turns = await connect(JSON.parse(process.env.OPTIONS));
const directory = () => process.env.DIRECTORY;
const worker = await turns.work({
  policies: { default: { model: 'scripted/scripted', directory } },
  lockMs: 2_000,
  stalledCheckMs: 1_000,
});
console.log('ready');
await once(process.stdin, 'data');
process.stdin.destroy();
console.log(JSON.stringify(await worker.stop(0)));
await turns.close();
console.log('closed');
