import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';

/** Whatever stands in front of a server may answer 200 for it: only what OpenCode itself says counts as done. */
let client: OpenCode;
const server = createServer((request, response) => {
  request.resume();
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}');
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  client = openCodeClient({ address: serverAddress(`http://127.0.0.1:${port}`) });
});
afterAll(() => void server.close());

const prompt = { messageId: 'msg_1', parts: [{ id: 'prt_1', type: 'text' as const, text: 'x' }] };

it.each<[string, () => Promise<unknown>]>([
  ['a prompt', () => client.prompt('ses_1', prompt)],
  ['an abort', () => client.abortSession('ses_1', '/tmp')],
  ['a deletion', () => client.deleteSession('ses_1')],
  ['an answer', () => client.replyQuestion('/tmp', 'que_1', [['a']])],
  ['a refusal', () => client.rejectQuestion('/tmp', 'que_1')],
  ['a permission', () => client.replyPermission('/tmp', 'per_1', 'once')],
])('another JSON for %s is an answer of somebody else', async (_, call) => {
  await expect(call()).rejects.toMatchObject({ code: 'upstream_foreign_answer', facts: { status: 200 } });
});
