/**
 * The embedded document database as a process: says where it listens in one line of JSON, and ends when its
 * parent does, however that dies (its stdin is a pipe that the parent holds).
 */
import { productName } from './identity.ts';
import { startDocumentDb } from './server.ts';

const at = process.argv.indexOf('--port');
const db = await startDocumentDb({ port: at < 0 ? 0 : Number(process.argv[at + 1]) });
console.log(JSON.stringify({ ready: true, url: db.url, pid: process.pid, product: productName }));

const end = () => void db.close().then(() => process.exit(0));
process.stdin.on('end', end).on('error', end).resume();
process.once('SIGTERM', end).once('SIGINT', end);
