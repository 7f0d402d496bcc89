import { expect, it } from '@jest/globals';
import { Artifact } from '../../src/artifacts/artifact.ts';

const file = { filename: 'a.txt', contentType: 'text/plain', metadata: { path: 'a.txt', tags: ['x'] } };
const artifact = (more = {}) => new Artifact({ ...file, content: Buffer.from('a'), ...more });

it('two artifacts are equal when name, bytes, type and metadata are', () => {
  expect(artifact().equals(artifact({ metadata: { tags: ['x'], path: 'a.txt' } }))).toBe(true);
});

it.each([
  [{ filename: 'b.txt' }],
  [{ content: Buffer.from('b') }],
  [{ contentType: 'text/html' }],
  [{ metadata: { path: 'a.txt', tags: ['y'] } }],
])('and differ by %j', (more) => {
  expect(artifact().equals(artifact(more))).toBe(false);
});
