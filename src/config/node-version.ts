/**
 * Ends the process in one line on a Node.js that is too old, before anything is loaded that would fail on it with a
 * riddle. To be imported first. Imports nothing.
 */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `opencode-turns needs Node.js 20.19 or newer; this is ${process.versions.node}. Install a newer one.`,
  );
  process.exit(1);
}
