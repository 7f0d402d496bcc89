/** Empties `dist` for a new build; says in one line why none can be made here. Plain Node, any version. */
import fs from 'node:fs';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19))
  fail(`needs Node.js 20.19 or newer; this is ${process.versions.node}. Install a newer one.`);
try {
  fs.rmSync('dist', { recursive: true, force: true });
  fs.mkdirSync('dist');
} catch (error) {
  fail(
    `cannot be built here: dist cannot be written (${error.code}). Copy the project to where you may write.`,
  );
}

/** @param {string} why */
function fail(why) {
  console.error(`opencode-turns ${why}`);
  process.exit(1);
}
