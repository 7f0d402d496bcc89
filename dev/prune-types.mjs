/**
 * At the end of a build: removes the types that no public entry reaches. They are of modules that nobody can import, and weigh half a
 * megabyte in every installation.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';

const { exports } = JSON.parse(readFileSync('package.json', 'utf8'));
const types = (entry) => {
  if (typeof entry !== 'object' || entry === null) return [];
  return Object.entries(entry).flatMap(([key, value]) => (key === 'types' ? [value] : types(value)));
};
const waiting = types(exports)
  .map((file) => path.normalize(file))
  .filter((file) => file.startsWith(path.normalize('dist/src')));
const reached = new Set();
for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
  if (reached.has(file)) continue;
  reached.add(file);
  const text = readFileSync(file, 'utf8');
  for (const [, name] of text.matchAll(/(?:from |import\()\s*['"](\.[^'"]+)['"]/g))
    waiting.push(path.join(path.dirname(file), name.replace(/\.(ts|js)$/, '.d.ts')));
}
if (reached.size === 0) throw new Error('no public types: has dist been built?');
for (const entry of readdirSync('dist/src', { recursive: true })) {
  const file = path.join('dist/src', entry);
  if (file.endsWith('.d.ts') && !reached.has(file)) rmSync(file);
}
