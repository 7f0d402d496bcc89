import type { ProxiedRequest, Substitute } from './upstream-proxy.ts';

const page = {
  status: 200,
  headers: { 'content-type': 'text/html' },
  body: '<!doctype html><title>OpenCode</title>',
};
const info = { version: '2.0.26', pid: 4711, urls: ['http://127.0.0.1:4096'], paths: { tmp: '/tmp' } };

/**
 * How OpenCode 2.0 answers requests of 1.x: its web page for every GET, 405 for all else, an empty 404 below /api, and
 * its version on one route only.
 */
export function openCode2({ method, path }: Pick<ProxiedRequest, 'method' | 'path'>): Substitute {
  if (path === '/api/info')
    return { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(info) };
  if (path.startsWith('/api/')) return { status: 404 };
  return method === 'GET' ? page : { status: 405 };
}
