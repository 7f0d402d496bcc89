import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { serverAddress } from '../../src/opencode/address.ts';
import { serverProbe } from '../../src/opencode/probe.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { openCode2 } from '../support/opencode-2x.ts';
import type { ProxiedRequest, Substitute } from '../support/upstream-proxy.ts';

type Server = (request: Pick<ProxiedRequest, 'method' | 'path'>) => Substitute;

const json = (body: unknown, status = 200): Substitute => ({
  status,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});
const page: Substitute = { status: 200, headers: { 'content-type': 'text/html' }, body: '<p>' };
const openCode1 =
  (version: string): Server =>
  ({ path }) =>
    path === '/global/health'
      ? json({ healthy: true, version })
      : path.startsWith('/session/status')
        ? json({})
        : page;

let speak: Server;
let asked: string[];
let url: string;
let warnings: unknown[];
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://here');
  asked.push(`${request.method} ${pathname}`);
  const { status, headers = {}, body = '' } = speak({ method: request.method ?? '', path: pathname });
  response.writeHead(status, headers).end(body);
});

beforeEach(async () => {
  asked = [];
  warnings = [];
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function connected() {
  const address = serverAddress(url, undefined, 'secret');
  const reporter = { report: (error: unknown) => void warnings.push(error) };
  return openCodeClient({ address, probe: serverProbe({ address, reporter }) });
}

const probes = ['GET /global/health', 'GET /api/info', 'GET /api/health'];

it('a server of 1.18 is asked once, however many calls wait for that', async () => {
  speak = openCode1('1.18.33');
  const client = connected();
  await Promise.all(Array.from({ length: 20 }, () => client.statuses('/a')));
  await client.statuses('/a');
  expect(asked.filter((one) => one === probes[0])).toHaveLength(1);
  expect(asked).toHaveLength(22);
  expect(warnings).toEqual([]);
});

it('another 1.x is spoken with, and told once that it is untested', async () => {
  speak = openCode1('1.17.4');
  const client = connected();
  for (let call = 0; call < 3; call += 1) await client.statuses('/a');
  expect(warnings).toEqual([expect.objectContaining({ message: expect.stringContaining('1.17.4') })]);
});

const preview: Server = ({ path }) =>
  path === '/api/health' ? json({ healthy: true, version: '0.0.0-v2-20260807', pid: 1 }) : { status: 404 };
const booting: Server = ({ path }) =>
  path === '/api/info' ? json({ version: '2.1.2', pid: 1 }, 503) : { status: 404 };

it.each([
  ['2.0 with its web page', openCode2, '2.0.26', 2],
  ['2.1 while it boots, without a page', booting, '2.1.2', 2],
  ['a build before 2.0', preview, '0.0.0-v2-20260807', 3],
  ['3.x that answers as 1.x does', openCode1('3.0.0'), '3.0.0', 1],
] as const)(
  '%s is refused with both versions, and nothing but its version is asked',
  async (_, other, version, n) => {
    speak = other;
    const client = connected();
    const unsupported = {
      code: 'unsupported_server',
      disposition: 'fail',
      server: url,
      version,
      supported: '1.x (tested with 1.18)',
      message: expect.stringMatching(new RegExp(`OpenCode ${version}; .* OpenCode 1\\.x`)),
    };
    await expect(client.createSession({ title: 't', directory: '/a', metadata: {} })).rejects.toMatchObject(
      unsupported,
    );
    expect(asked).toEqual(probes.slice(0, n));
    await expect(client.health()).rejects.toMatchObject(unsupported);
  },
);

it('a page of a proxy, a wrong password, a redirect are no other protocol', async () => {
  const client = connected();
  speak = () => page;
  await expect(client.statuses('/a')).rejects.toMatchObject({ code: 'upstream_foreign_answer' });
  speak = () => ({ status: 401 });
  await expect(client.statuses('/a')).rejects.toMatchObject({ code: 'upstream_authentication' });
  speak = () => ({ status: 302, headers: { location: 'http://127.0.0.1:1/login' } });
  await expect(client.statuses('/a')).rejects.toMatchObject({ code: 'upstream_redirect' });
  speak = () => ({ status: 503 });
  await expect(client.statuses('/a')).rejects.toMatchObject({ code: 'upstream_server' });
  speak = openCode1('1.18.33');
  expect(await client.statuses('/a')).toEqual({});
});

it.each([
  ['HTML', page],
  ['404', { status: 404 }],
  ['405', { status: 405 }],
])('after %s the server is asked anew what it speaks', async (_, wrong) => {
  speak = openCode1('1.18.33');
  const client = connected();
  await client.statuses('/a');
  speak = (request) => (request.path === '/global/health' ? openCode1('1.18.33')(request) : wrong);
  await expect(client.statuses('/a')).rejects.toMatchObject({ code: 'upstream_foreign_answer' });
  speak = openCode2;
  await expect(client.statuses('/a')).rejects.toMatchObject({
    code: 'unsupported_server',
    version: '2.0.26',
  });
});
